"""CTranslate2 in a virtual environment of its own, and checkpoints in its format. The bench's process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import environments

VERSION = "4.8.5"


def environment(folder: Path) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be."""
    return environments.made(folder / "venv-ctranslate2", f"ctranslate2=={VERSION}")


def convert(
    python: Path, checkpoint: Path, target: Path, compute_type: str, told: Callable[[str], None]
) -> Path:
    """The checkpoint in CTranslate2's format. Its converter borrows our PyTorch and transformers, for this process only."""
    if not target.exists():
        told(f"converting {checkpoint.parent.name} for CTranslate2, {compute_type}")
        borrowed = str(environments.site_packages())
        command = [
            str(python),
            "-W",
            "ignore",
            "-m",
            "ctranslate2.converters.transformers",
            "--model",
            str(checkpoint),
        ]
        command += ["--output_dir", str(target), "--quantization", compute_type]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": borrowed, "HF_HUB_OFFLINE": "1"})
    return target
