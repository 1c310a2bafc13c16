"""Versions that a request loads: those who wait for one share its load. Front process, event loop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from trine.errors import DeadlineExceeded
from trine.registry.records import Key, Record


class Demand:
    """`is_due` tells whether a request has to wait for a load, and raises what refuses it; `load` is that load."""

    def __init__(
        self, is_due: Callable[[Record], bool], load: Callable[[Record], Coroutine[Any, Any, None]]
    ) -> None:
        self._is_due = is_due
        self._load = load
        self._loads: dict[Key, asyncio.Task[None]] = {}

    async def wait(self, record: Record, deadline: float) -> None:
        """Return when nothing is due. The load goes on when all who waited have left.

        `deadline` is in seconds of the monotonic clock. Raises DeadlineExceeded, or what kept the engine from loading.
        """
        while self._is_due(record):
            task = self._loads.get(record.key)
            if task is None:
                task = asyncio.create_task(self._load(record), name=f"load {record.reference}")
                self._loads[record.key] = task
                task.add_done_callback(partial(self._loaded, record.key))
            done, _ = await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise DeadlineExceeded("the deadline has passed while the version was loaded")
            task.result()

    def _loaded(self, key: Key, task: asyncio.Task[None]) -> None:
        self._loads.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to those who wait, of whom none may be left

    async def close(self) -> None:
        loads = list(self._loads.values())
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
