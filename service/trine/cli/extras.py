"""Packages that a client's machine need not have: imported by the commands that need them, when they run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from trine.errors import NotPossible


@contextlib.contextmanager
def importing(extra: str, doing: str) -> Iterator[None]:
    """Raises NotPossible for a package that is not installed; a module of our own that is missing stays the bug that it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "trine":
            raise
        raise NotPossible(f"{doing} needs the package {error.name}: pip install 'trine[{extra}]'") from error
