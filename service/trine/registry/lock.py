"""Locks between processes, also of several machines that mount the repository. Front process, any thread.

flock, which the kernel gives back however its holder ends. Two locks of one process exclude each other too.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class _Descriptor:
    """What a lock hangs on: an open file. Closing it gives the lock back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Lock(_Descriptor):
    """On a file of its own in `folder`."""

    NAME = ".lock"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / self.NAME)

    def take(self, *, wait: bool = False) -> bool:
        """False where another holds it; with `wait` there is no such answer."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self.release()
            return False
        return True


class Hold(_Descriptor):
    """A shared lock on a file that is there: whoever uses it holds one, and none may delete it meanwhile."""

    def take(self) -> bool:
        """False where the file is gone, or is being deleted, or cannot be locked."""
        return self._lock(os.O_RDONLY, fcntl.LOCK_SH)

    def take_alone(self) -> bool:
        """To delete it. False where it is gone, or anybody holds it."""
        return self._lock(os.O_RDWR, fcntl.LOCK_EX)

    def _lock(self, flags: int, kind: int) -> bool:
        try:
            self._descriptor = os.open(self._path, flags)
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            self.release()
            return False
        return True
