"""Who watches checkpoints: each watcher has a set of the names that changed since it last looked. Front process, event loop only.

A name stands in the set once, however often it changes, so a watcher that falls behind is told the newest state and costs no more
memory than the names it watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace

from trine.errors import Draining
from trine.front.serving.pool import Pool
from trine.front.serving.views import EngineView
from trine.registry.repository import Repository


@dataclass(eq=False, slots=True)
class _Watcher:
    wanted: str
    """A name; empty for all."""
    changed: dict[str, None] = field(default_factory=dict)
    """In the order of the first change that was not told."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Watchers:
    def __init__(self, repository: Repository, pool: Pool) -> None:
        self._repository = repository
        self._pool = pool
        self._watchers: set[_Watcher] = set()
        self._engines: dict[str, list[EngineView]] = {}
        self._draining = False

    def tell(self, name: str) -> None:
        """Something of `name` is not as it was."""
        for watcher in self._watchers:
            if watcher.wanted in {"", name}:
                watcher.changed[name] = None
                watcher.wake.set()

    def update(self) -> None:
        """Compare the engines with what they were, and tell the names of those that changed. Their memory changes always."""
        now: dict[str, list[EngineView]] = {}
        for record in self._pool.records():
            view = replace(self._pool.view(record), resident_bytes=0)
            now.setdefault(record.checkpoint, []).append(view)
        for name in now.keys() | self._engines.keys():
            if now.get(name) != self._engines.get(name):
                self.tell(name)
        self._engines = now

    def drain(self) -> None:
        """End all watches: the server is about to stop."""
        self._draining = True
        for watcher in self._watchers:
            watcher.wake.set()

    async def watch(self, wanted: str) -> AsyncGenerator[str | None, None]:
        """Every name that is there, then None, then each name whenever it changes, or is gone. Raises Draining."""
        watcher = _Watcher(wanted)
        self._watchers.add(watcher)
        try:
            known = set(self._repository.names())
            watcher.changed = dict.fromkeys(sorted(known & {wanted} if wanted else known))
            for name in self._take(watcher):
                yield name
            yield None
            while True:
                watcher.wake.clear()
                for name in self._take(watcher):
                    yield name
                await watcher.wake.wait()
        finally:
            self._watchers.discard(watcher)

    def _take(self, watcher: _Watcher) -> Iterator[str]:
        """The names that changed, also those that change while it is read. Raises Draining."""
        while True:
            if self._draining:
                raise Draining("the server is about to stop")
            if not watcher.changed:
                return
            name = next(iter(watcher.changed))
            del watcher.changed[name]
            yield name
