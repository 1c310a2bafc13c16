"""Streams in both directions: each request is answered by itself, as soon as its answer is there. Front process, event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from trine.errors import Draining


class Running(Protocol):
    """A request that was begun: front.serving.request.Request."""

    def end(self, error: BaseException | None = None, /) -> None: ...


Q = TypeVar("Q")
P = TypeVar("P", bound=Running)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Answering(Generic[Q, P, A]):
    """How a stream's requests are answered."""

    begin: Callable[[Q, Callable[[], None]], Awaitable[P]]
    """Returns when the request runs. What was passed is called once its answer is there. Raises what is wrong with it."""
    finish: Callable[[Q, P], A]
    """The answer. Raises what went wrong."""
    fail: Callable[[Q, Exception], A]
    """The answer that tells an error."""


class Streams:
    """What all such streams of a server share: how many requests each has in flight, and that a drain ends them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Read no more requests: each stream answers those that it has, and ends with Draining."""
        self._draining.set()

    async def answered(
        self, requests: AsyncIterator[Q], answering: Answering[Q, Any, A]
    ) -> AsyncGenerator[A]:
        """The answers, in the order in which they are ready.

        A request is in flight, and holds what it took, until its answer was taken: a caller who does not read is not read either.
        Ends when `requests` has ended and all are answered. Raises what broke `requests`, after the answers, and Draining.
        """
        stream = _Stream(self._limit, answering)
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
            for task in (drain, reader):
                task.cancel()
            stream.abandon()  # before the first await: a call that is cancelled may be cancelled again
            await asyncio.gather(drain, reader, return_exceptions=True)


class _Stream(Generic[Q, P, A]):
    """One task reads requests and begins them, one after the other; whoever takes the answers sets the pace."""

    def __init__(self, limit: int, answering: Answering[Q, P, A]) -> None:
        self._answering = answering
        self._places = _Places(limit)
        self._ready: asyncio.Queue[_Item[Q, P] | None] = asyncio.Queue()
        self._open: set[_Item[Q, P]] = set()
        self._ended = False

    async def read(self, requests: AsyncIterator[Q]) -> None:
        await self._places.take()
        async for request in requests:
            item: _Item[Q, P] = _Item(request)
            self._open.add(item)
            await self._begin(item)
            await self._places.take()

    async def _begin(self, item: _Item[Q, P]) -> None:
        try:
            item.running = await self._answering.begin(item.request, lambda: self._ready.put_nowait(item))
        except Exception as error:
            item.error = error
            self._ready.put_nowait(item)
        except asyncio.CancelledError:
            self._open.discard(item)  # a drain, while it waited for room
            raise

    def end(self) -> None:
        """No more requests come."""
        self._ended = True
        self._ready.put_nowait(None)

    async def answers(self) -> AsyncGenerator[A]:
        while self._open or not self._ended:
            item = await self._ready.get()
            if item is not None and item in self._open:
                yield self._answer(item)
                self._open.discard(item)
                if item.running is not None:
                    item.running.end()
                self._places.give_back()

    def _answer(self, item: _Item[Q, P]) -> A:
        try:
            if item.running is not None:
                return self._answering.finish(item.request, item.running)
            assert item.error is not None
            return self._answering.fail(item.request, item.error)
        except Exception as error:
            return self._answering.fail(item.request, error)

    def abandon(self) -> None:
        """End what still runs: nobody waits for it."""
        for item in self._open:
            if item.running is not None:
                item.running.end(asyncio.CancelledError())


class _Places:
    """How many requests may be in flight. Who has to wait for a place waits for a few, so that not every answer wakes the reader."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._few = max(1, limit // 8)
        self._wake: asyncio.Future[None] | None = None

    async def take(self) -> None:
        while not self._free:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        self._free -= 1

    def give_back(self) -> None:
        self._free += 1
        if self._wake is not None and self._free >= self._few and not self._wake.done():
            self._wake.set_result(None)


class _Item(Generic[Q, P]):
    """One request of a stream; what it became once it is begun, or why it was not."""

    __slots__ = ("error", "request", "running")

    def __init__(self, request: Q) -> None:
        self.request = request
        self.running: P | None = None
        self.error: Exception | None = None
