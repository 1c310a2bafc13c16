"""optimum-onnx in a virtual environment of its own, and the graphs that it exports. The bench's process.

optimum-onnx 0.1.0 wants transformers below 4.58, which Trine does not install (docs/decisions/0001). Its environment has these few
packages, and borrows the rest, PyTorch and ONNX Runtime among them, from ours: both run the same onnxruntime.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import environments

_PINS = (
    "optimum-onnx==0.1.0",
    "optimum==2.1.0",
    "transformers==4.57.6",
    "tokenizers==0.22.2",
    "huggingface_hub==0.36.2",
)
_EXPORT = """
import sys
from optimum import onnxruntime
loader = {"gpt2": "CausalLM", "marian": "Seq2SeqLM", "bert": "SequenceClassification"}[sys.argv[3]]
getattr(onnxruntime, f"ORTModelFor{loader}").from_pretrained(sys.argv[1], export=True).save_pretrained(sys.argv[2])
"""


def environment(folder: Path) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be."""
    return environments.made(folder / "venv-optimum", *_PINS, borrowed=environments.site_packages())


def export(
    python: Path, checkpoint: Path, target: Path, architecture: str, told: Callable[[str], None]
) -> Path:
    """optimum-onnx's graphs of the checkpoint, made where they are missing. Raises CalledProcessError."""
    if not target.exists():
        told(f"exporting {checkpoint.parent.name} with optimum-onnx")
        staging = target.with_name(f".{target.name}")
        command = [str(python), "-W", "ignore", "-c", _EXPORT, str(checkpoint), str(staging), architecture]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        staging.rename(target)
    return target
