"""OpenVINO in a virtual environment of its own. The bench's process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VERSION = "2026.4.1"


def environment(folder: Path) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be."""
    home = folder / "venv-openvino"
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"openvino=={VERSION}"], check=True, capture_output=True)
        (home / ".ready").touch()
    return python
