"""Virtual environments of the peers, each of its own. The bench's process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def made(home: Path, *packages: str, borrowed: Path | None = None) -> Path:
    """The environment's Python, installed when it is missing. Raises CalledProcessError where it cannot be.

    `borrowed` is a folder of packages that it uses beside its own; then `packages` come without what they require.
    """
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        alone = [] if borrowed is None else ["--no-deps"]
        try:
            subprocess.run([*pip, *alone, *packages], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            sys.stderr.buffer.write(error.stderr)
            raise
        if borrowed is not None:
            (site,) = home.glob("lib/python*/site-packages")
            # A .pth file's folders come after the environment's own, so its packages hide those of the same name.
            (site / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
        (home / ".ready").touch()
    return python


def site_packages() -> Path:
    """Where ours has PyTorch and all else."""
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parents[1]
