"""What other servers change in the repository, and what people change by hand. Front process: one task, and a thread for each look.

Two ways, since no file system tells whether it tells: the kernel's events (watchfiles), which a server of the same machine causes by
touching the repository's bell, and a look at each name's folder every few seconds, which is all that a network volume gives of what
other machines do. A look costs one `stat` for each name; only a name whose folder has changed is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable

from watchfiles import awatch

from trine.errors import NotPossible
from trine.registry import layout
from trine.registry.repository import Repository

logger = logging.getLogger(__name__)

_SAME_TIME = 3.0
"""Seconds after a change in which a name is read at every look: another change within the same tick of the volume's clock leaves the
same time. Network volumes and old file systems tick in seconds."""
_EVENT_STEP_MS = 100
_EVENT_DEBOUNCE_MS = 300

_Stamp = tuple[int, int]
"""A folder's inode and its time of change in nanoseconds."""


class Watch:
    """`interval` in seconds, between two looks that no event asked for."""

    def __init__(self, repository: Repository, interval: float) -> None:
        self._repository = repository
        self._interval = interval
        self._stamps: dict[str, _Stamp | None] = {}
        self._fresh: dict[str, float] = {}
        """Until when a name is read at every look, on the monotonic clock."""
        self._volume = _identity(repository)
        self._bell = asyncio.Event()

    async def run(self, changed: Callable[[set[str]], None]) -> None:
        """For ever: call with the names that are not as this server knew them."""
        events = asyncio.create_task(self._listen(), name="repository events")
        try:
            while True:
                try:
                    names = await asyncio.to_thread(self.look)
                    if names:
                        changed(names)
                except Exception:  # one bad look must not leave the server blind for ever
                    logger.exception("a look at the repository failed")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), self._interval)
                self._bell.clear()
        finally:
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)

    async def _listen(self) -> None:
        """The folder itself is watched, not the thousands below it: the bell is in it."""
        try:
            events = awatch(
                self._repository.root,
                watch_filter=None,
                recursive=False,
                step=_EVENT_STEP_MS,
                debounce=_EVENT_DEBOUNCE_MS,
            )
            async for _ in events:
                self._bell.set()
        except (OSError, RuntimeError) as error:  # no inotify, or none left
            logger.warning("the repository is looked at from time to time only: %s", type(error).__name__)

    def look(self) -> set[str]:
        """Read anew what has changed, or may have; the names that are not as they were. Blocking.

        A volume that cannot be read, or that is another one than at the start, changes nothing: it is away, not empty.
        """
        try:
            if _identity(self._repository) != self._volume:
                logger.error("the repository's folder is not the one that it was: is its volume mounted?")
                return set()
            seen = {entry.name: _stamp(entry) for entry in layout.checkpoint_folders(self._repository.root)}
        except OSError as error:
            logger.warning("the repository cannot be looked at", extra={"errno": error.errno})
            return set()
        now = time.monotonic()
        changed = set()
        for name in seen.keys() | self._stamps.keys() | set(self._repository.names()):
            self._clear_away(name)
            if self._may_have_changed(name, seen.get(name), now) and self._repository.refresh(name):
                changed.add(name)
        self._stamps = seen
        return changed

    def _clear_away(self, name: str) -> None:
        """A registration whose server died elsewhere would stay in the lists until a server starts."""
        if self._repository.is_registering(name):
            with contextlib.suppress(OSError, NotPossible):
                self._repository.sweep(name)

    def _may_have_changed(self, name: str, stamp: _Stamp | None, now: float) -> bool:
        if stamp is None or stamp != self._stamps.get(name):
            self._fresh[name] = now + _SAME_TIME
            return True
        if self._fresh.get(name, 0.0) > now:
            return True
        self._fresh.pop(name, None)
        return self._repository.is_unsettled(name)


def _stamp(entry: os.DirEntry[str]) -> _Stamp | None:
    try:
        found = entry.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _identity(repository: Repository) -> tuple[int, int]:
    found = repository.root.stat()
    return found.st_dev, found.st_ino
