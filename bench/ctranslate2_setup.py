"""CTranslate2 in a virtual environment of its own, and checkpoints in its format. The bench's process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

VERSION = "4.8.5"


def environment(folder: Path) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be."""
    home = folder / "venv-ctranslate2"
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"ctranslate2=={VERSION}"], check=True)
        (home / ".ready").touch()
    return python


def convert(
    python: Path, checkpoint: Path, target: Path, compute_type: str, told: Callable[[str], None]
) -> Path:
    """The checkpoint in CTranslate2's format. Its converter borrows our PyTorch and transformers, for this process only."""
    if not target.exists():
        told(f"converting {checkpoint.parent.name} for CTranslate2, {compute_type}")
        found = importlib.util.find_spec("torch")
        assert found is not None
        assert found.origin is not None
        borrowed = str(Path(found.origin).parents[1])
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
