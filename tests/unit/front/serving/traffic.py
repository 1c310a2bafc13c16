"""Requests at a steady rate, however long each takes, while a test does something else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


class Traffic:
    """A subclass says what each request is."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        """Requests a second."""
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self) -> Coroutine[Any, Any, None]:
        """The next one."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Raises what any of them failed with."""
        sending = asyncio.create_task(self._send())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        await asyncio.gather(*self._tasks)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._tasks.add(asyncio.create_task(self.request()))
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - loop.time()))
