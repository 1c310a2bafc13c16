"""The memory of all engines together, and which of them is ended when a budget is full. Front process, event loop only.

An engine counts with its proportional set size: what is its own, and its part of the library pages that engines share. The sum is
then what the machine gives. Memory of a CUDA device is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

from trine.errors import NotPossible, Overloaded
from trine.front.serving.handle import EngineHandle
from trine.front.serving.views import EngineState

logger = logging.getLogger(__name__)

_EMPTY_ENGINE = 64 << 20
"""Bytes of an engine without weights: interpreter, libraries, buffers. Measured: 48 to 56 MB."""
_LOOK_EVERY = 5.0
"""Seconds. Engines grow while they work, as their caches are written for the first time."""


def estimate(artifact_folder: Path) -> int:
    """Bytes that the engine of an artifact will take, before one has been measured."""
    return _EMPTY_ENGINE + sum(path.stat().st_size for path in artifact_folder.glob("*") if path.is_file())


class Memory:
    """Keeps the engines within `budget` bytes; 0: no limit. The pool lends its table of engines and its way to end one."""

    def __init__(
        self,
        budget: int,
        engines: Callable[[], Collection[EngineHandle]],
        evict: Callable[[EngineHandle], Awaitable[None]],
    ) -> None:
        self._budget = budget
        self._engines = engines
        self._evict = evict
        self._turn = asyncio.Lock()
        """Room is made for one engine at a time, or two would be let in on the same bytes."""

    @contextlib.asynccontextmanager
    async def room(self, need: int, keep: Collection[EngineHandle]) -> AsyncIterator[None]:
        """While inside there are `need` bytes to take. Ends engines, the one that was used least recently first, but none that is in
        `keep`, has requests or is not live. Raises NotPossible where that can never be enough, Overloaded where it is not now."""
        if not self._budget:
            yield
            return
        async with self._turn:
            await self._measure()
            keep = [engine for engine in keep if engine in self._engines()]  # one may have ended meanwhile
            if need + _sum(keep) > self._budget:
                raise NotPossible(f"there is no room for it: {self._words(need, keep)}", field="checkpoint")
            while _sum(self._engines()) + need > self._budget:
                victim = self._least_recently_used(keep)
                if victim is None:
                    raise Overloaded(f"there is no room for it now: {self._words(need, keep)}")
                await self._evict(victim)
            yield

    async def watch(self) -> None:
        """For ever: keep the engines within the budget while they grow. One always stays."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            async with self._turn:
                await self._measure()
                while _sum(self._engines()) > self._budget and len(self._engines()) > 1:
                    victim = self._least_recently_used(())
                    if victim is None:
                        break
                    await self._evict(victim)

    async def _measure(self) -> None:
        await asyncio.gather(*(engine.measure() for engine in self._engines()))

    def _least_recently_used(self, keep: Collection[EngineHandle]) -> EngineHandle | None:
        free = [
            engine
            for engine in self._engines()
            if engine.state is EngineState.LIVE and engine.is_idle and engine not in keep
        ]
        return min(free, key=lambda engine: engine.last_used, default=None)

    def _words(self, need: int, keep: Collection[EngineHandle]) -> str:
        taken = _mb(need or _sum(keep)), _mb(_sum(self._engines())), _mb(self._budget)
        return "it takes about {}; engines hold {} of the {} that they may".format(*taken)


def _sum(engines: Collection[EngineHandle]) -> int:
    return sum(engine.resident_bytes or engine.expected_bytes for engine in engines)


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
