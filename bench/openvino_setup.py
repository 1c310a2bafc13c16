"""OpenVINO in a virtual environment of its own. The bench's process."""

from __future__ import annotations

from pathlib import Path

from bench import environments

VERSION = "2026.4.1"


def environment(folder: Path) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be."""
    return environments.made(folder / "venv-openvino", f"openvino=={VERSION}")
