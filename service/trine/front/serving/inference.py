"""One request from its admission to its answer. Front process, event loop only.

Every request passes the same way: resolve the reference, check the task, wait for an engine that is loaded on demand, take
a permit, lease the engine, submit, wait for the mailbox. Whatever ends it, the permit and the lease are given back and the engine is told to let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TypeVar

from trine import frames
from trine.artifact import Task
from trine.config import Settings
from trine.errors import DeadlineExceeded, WrongTask
from trine.front.serving.admission import Admission
from trine.front.serving.link import Closing
from trine.front.serving.pool import Pool
from trine.front.serving.request import Request
from trine.front.serving.room import Room
from trine.front.serving.work import Caller, Work
from trine.front.serving.writing import Writing
from trine.registry import references
from trine.registry.records import Record
from trine.telemetry.metrics import Metrics

R = TypeVar("R")

_VERBS = {
    Task.CLASSIFICATION: "Classify",
    Task.TOKEN_CLASSIFICATION: "ClassifyTokens",
    Task.EMBEDDING: "Embed",
    Task.GENERATION: "Generate",
    Task.TRANSLATION: "Translate",
    Task.SUMMARIZATION: "Summarize",
}


class Inference:
    """Transport-free: strings in, frames out, errors of trine.errors."""

    def __init__(
        self,
        pool: Pool,
        admission: Admission,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._admission = admission
        self._settings = settings
        self._metrics = metrics

    async def answer(self, reference: str, work: Work[R], *, caller: Caller) -> tuple[str, list[R]]:
        """The whole answer: (NAME:VERSION, one result for each input)."""
        with Request(work, self._timeout(caller), self._metrics) as request:
            await self._submit(request, self._resolve(request, reference), caller)
            await request.mailbox.wait()
            return request.result()

    async def begin(
        self, reference: str, work: Work[R], *, caller: Caller, told: Callable[[], None]
    ) -> Request[R]:
        """The same for a stream: waits for room instead of being refused, and returns when the engine has been asked.

        `told` is called when `result` is there; then, or before, the request must be ended.
        """
        request = Request(work, self._timeout(caller), self._metrics, told)
        rooms: list[Room] = []
        try:
            record = self._resolve(request, reference)
            rooms = [room for room in (self._pool.room(record), self._admission.room) if room is not None]
            if await self._wait_for_room(request, rooms):
                record = self._resolve(request, reference)  # the name may mean another version by now
            await self._submit(request, record, caller)
        except BaseException as error:
            request.end(error)
            raise
        finally:
            for room in rooms:
                room.freed()
        return request

    async def stream(
        self, reference: str, writing: Writing, *, caller: Caller
    ) -> AsyncGenerator[tuple[str, list[frames.Delta]], None]:
        """A generating answer as deltas, as they come. Closing the iterator cancels the request."""
        with Request(writing, self._timeout(caller), self._metrics) as request:
            record = self._resolve(request, reference)
            await self._submit(request, record, caller)
            last = False
            while not last:
                await request.mailbox.wait()
                deltas, failed = _merge(request.mailbox.messages())
                if deltas:
                    yield record.reference, deltas
                    last = deltas[-1].last
                if failed is not None:
                    raise request.failed(failed)

    def _timeout(self, caller: Caller) -> float:
        return self._settings.default_timeout if caller.timeout is None else caller.timeout

    def _resolve(self, request: Request[R], reference: str) -> Record:
        record = self._pool.routes.resolve(references.parse(reference))
        request.version = record
        if record.task is not request.work.task:
            raise WrongTask(
                f"{record.reference} does {record.task}: call {_VERBS[record.task]}", field="checkpoint"
            )
        return record

    async def _submit(self, request: Request[R], record: Record, caller: Caller) -> None:
        work = request.work
        await self._pool.ready(
            record, request.deadline
        )  # before the permit, which others have better use for meanwhile
        size = self._admission.take(work.contents(), work.field)
        request.holds(partial(self._admission.give_back, size))
        engine = self._pool.lease(record)
        request.holds(engine.let_go)
        number = engine.submit(lambda number: work.submit(number, request.deadline, caller), request.mailbox)
        request.holds(partial(engine.cancel, number, request.mailbox))
        request.watch(number)

    async def _wait_for_room(self, request: Request[R], rooms: Sequence[Room]) -> bool:
        """Streams leave half of the engine's window and half of the permits to calls that are refused when there is none.

        Returns whether it had to wait.
        """
        if all(room.is_there for room in rooms):
            return False
        try:
            async with asyncio.timeout(request.remaining):
                for room in rooms:
                    await room.wait()
        except TimeoutError:
            raise DeadlineExceeded("the deadline has passed") from None
        return True


def _merge(messages: list[Closing]) -> tuple[list[frames.Delta], frames.Failed | None]:
    """What gathered while the caller was slow: one delta for each input at most, in the order of their newest text."""
    merged: dict[int, frames.Delta] = {}
    for delta in messages:
        if isinstance(delta, frames.Delta):
            before = merged.pop(delta.input_index, None)
            merged[delta.input_index] = delta if before is None else before.followed_by(delta)
    failed = next((message for message in messages if isinstance(message, frames.Failed)), None)
    return list(merged.values()), failed
