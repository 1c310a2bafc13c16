"""Streams in both directions: each request is answered by itself, as soon as its answer is there. Front process, event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

from trine.errors import Draining

Q = TypeVar("Q")
A = TypeVar("A")


class Streams:
    """What all such streams of a server share: how many requests each has in flight, and that a drain ends them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Read no more requests: each stream answers those that it has, and ends with Draining."""
        self._draining.set()

    async def answered(
        self, requests: AsyncIterator[Q], answer: Callable[[Q], Awaitable[A]]
    ) -> AsyncGenerator[A]:
        """The answers, in the order in which they are ready. `answer` turns its own errors into answers.

        A request is in flight until its answer was taken, so a caller who does not read is not read either. Ends when `requests` has
        ended and all are answered. Raises what broke `requests`, after the answers, and Draining.
        """
        stream = _Stream(self._limit, answer)
        reader = asyncio.create_task(stream.read(requests))
        drain = asyncio.create_task(self._draining.wait())
        reader.add_done_callback(lambda _: stream.end())
        drain.add_done_callback(lambda _: reader.cancel())
        try:
            async for response in stream.answers():
                yield response
            if reader.cancelled():
                raise Draining("the server is about to stop")
            reader.result()
        finally:
            tasks = [drain, reader, *stream.tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Stream(Generic[Q, A]):
    """One task reads requests, a task for each answers it, and whoever takes the answers sets the pace."""

    def __init__(self, limit: int, answer: Callable[[Q], Awaitable[A]]) -> None:
        self._answer = answer
        self._places = asyncio.Semaphore(limit)
        self._ready: asyncio.Queue[A | Exception | None] = asyncio.Queue()
        self._open = 0
        self._ended = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def read(self, requests: AsyncIterator[Q]) -> None:
        await self._places.acquire()
        async for request in requests:
            self._open += 1
            task = asyncio.create_task(self._settle(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            await self._places.acquire()

    async def _settle(self, request: Q) -> None:
        try:
            self._ready.put_nowait(await self._answer(request))
        except Exception as error:  # a bug: it ends the stream, which would wait for this answer for ever
            self._ready.put_nowait(error)

    def end(self) -> None:
        """No more requests come."""
        self._ended = True
        self._ready.put_nowait(None)

    async def answers(self) -> AsyncGenerator[A]:
        while self._open or not self._ended:
            response = await self._ready.get()
            if isinstance(response, Exception):
                raise response
            if response is not None:
                self._open -= 1
                yield response
                self._places.release()
