"""A lock between processes, also of several machines that mount the repository. Front process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """An flock that ends with the process that holds it."""

    NAME = ".lock"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.NAME
        self._descriptor = -1

    def take(self, *, wait: bool = False) -> bool:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
