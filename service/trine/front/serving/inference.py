"""One request from its admission to its answer. Front process, event loop only.

Every request passes the same way: resolve the reference, check the task, take a permit, lease the engine, submit, wait for the
mailbox. Whatever ends it, the permit and the lease are given back and the engine is told to let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from trine import frames
from trine.artifact import Task
from trine.config import Settings
from trine.errors import Bug, DeadlineExceeded, TrineError, WrongTask, from_reason
from trine.front.serving.admission import Admission
from trine.front.serving.link import Closing, Mailbox
from trine.front.serving.pool import Pool
from trine.front.serving.reading import Reading
from trine.registry import references
from trine.registry.records import Record
from trine.registry.repository import Repository
from trine.sampling import Decoding
from trine.telemetry.metrics import Metrics

R = TypeVar("R")

_GRACE = 0.25
"""Seconds after a deadline in which the engine's own word about it may still come."""

_VERBS = {
    Task.CLASSIFICATION: "Classify",
    Task.TOKEN_CLASSIFICATION: "ClassifyTokens",
    Task.EMBEDDING: "Embed",
    Task.GENERATION: "Generate",
    Task.TRANSLATION: "Translate",
    Task.SUMMARIZATION: "Summarize",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, how urgently, and how long they wait."""

    name: str
    """For fairness between callers."""
    priority: int
    """1 low, 2 normal, 3 high."""
    timeout: float | None
    """Seconds; None for the server's default."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What a generating request wants written; its fields are those of frames.Generate."""

    texts: list[str]
    decoding: Decoding
    conversations: list[list[frames.Message]]
    directions: list[frames.Direction]
    split: bool

    def field(self, index: int) -> str:
        """How errors name what was sent for an input."""
        conversation = bool(self.conversations and self.conversations[index])
        return f"inputs[{index}].{'messages' if conversation else 'text'}"

    def contents(self) -> list[str]:
        """All that was sent for each input, for whoever counts characters."""
        if not self.conversations:
            return self.texts
        return [
            text or "".join(message.content for message in messages)
            for text, messages in zip(self.texts, self.conversations, strict=True)
        ]


@dataclass(slots=True)
class _Outcome:
    """What the metrics will say of a request."""

    checkpoint: str = "_unknown"
    version: str = ""
    code: str = "OK"


class Inference:
    """Transport-free: strings in, frames out, errors of trine.errors."""

    def __init__(
        self,
        repository: Repository,
        pool: Pool,
        admission: Admission,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._repository = repository
        self._pool = pool
        self._admission = admission
        self._settings = settings
        self._metrics = metrics

    async def read(self, reference: str, reading: Reading[R], *, caller: Caller) -> tuple[str, list[R]]:
        """Classification, token classification or embedding: (NAME:VERSION, one result for each text)."""
        deadline = self._deadline(caller.timeout)

        def build(number: int) -> frames.Submit:
            return reading.submit(number, deadline, caller.priority, caller.name)

        permit = self._admission.permit(reading.contents())
        with self._submitted(reference, reading.task, permit, deadline, build) as (record, mailbox):
            (answer,) = await _take(mailbox, deadline)
            return record.reference, reading.results(_expect_answer(answer))

    async def generate(
        self, reference: str, writing: Writing, *, task: Task, caller: Caller
    ) -> tuple[str, list[frames.Generated]]:
        """Generation, translation or summarization: (NAME:VERSION, one result for each text)."""
        with self._writing(reference, writing, task, caller, stream=False) as (record, mailbox, deadline):
            (answer,) = await _take(mailbox, deadline)
            return record.reference, _expect_answer(answer).generated

    async def stream(
        self, reference: str, writing: Writing, *, task: Task, caller: Caller
    ) -> AsyncGenerator[tuple[str, list[frames.Delta]], None]:
        """The same as deltas, as they come. Closing the iterator cancels the request."""
        with self._writing(reference, writing, task, caller, stream=True) as (record, mailbox, deadline):
            last = False
            while not last:
                deltas, failed = _merge(await _take(mailbox, deadline))
                if deltas:
                    yield record.reference, deltas
                    last = deltas[-1].last
                if failed is not None:
                    raise _error(failed)

    @contextlib.contextmanager
    def _writing(
        self, reference: str, writing: Writing, task: Task, caller: Caller, *, stream: bool
    ) -> Iterator[tuple[Record, Mailbox, float]]:
        deadline = self._deadline(caller.timeout)

        def build(number: int) -> frames.Submit:
            return frames.Generate(
                number,
                writing.texts,
                deadline,
                caller.priority,
                caller.name,
                writing.decoding,
                stream,
                writing.conversations,
                writing.directions,
                writing.split,
            )

        permit = self._admission.permit(writing.contents(), writing.field)
        with self._submitted(reference, task, permit, deadline, build) as (record, mailbox):
            yield record, mailbox, deadline

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._settings.default_timeout if timeout is None else timeout)

    @contextlib.contextmanager
    def _submitted(
        self,
        reference: str,
        task: Task,
        permit: AbstractContextManager[None],
        deadline: float,
        build: Callable[[int], frames.Submit],
    ) -> Iterator[tuple[Record, Mailbox]]:
        with self._counted(task, deadline) as outcome:
            record = self._repository.resolve(references.parse(reference))
            outcome.checkpoint, outcome.version = record.checkpoint, str(record.number)
            if record.task is not task:
                raise WrongTask(
                    f"{record.reference} does {record.task}: call {_VERBS[record.task]}", field="checkpoint"
                )
            with permit, self._pool.lease(record) as engine:
                number, mailbox = engine.submit(build)
                try:
                    yield record, mailbox
                finally:
                    engine.cancel(number, mailbox)

    @contextlib.contextmanager
    def _counted(self, task: Task, deadline: float) -> Iterator[_Outcome]:
        """Count the request and its duration, whatever becomes of it.

        gRPC cancels a handler for either reason, the caller's leaving or the deadline; only the clock tells which.
        """
        outcome, began = _Outcome(), time.monotonic()
        try:
            yield outcome
        except (asyncio.CancelledError, GeneratorExit):
            late = time.monotonic() >= deadline
            outcome.code = DeadlineExceeded.reason if late else "CANCELLED"
            raise
        except TrineError as error:
            outcome.code = error.reason
            raise
        except BaseException:
            outcome.code = Bug.reason
            raise
        finally:
            seconds = time.monotonic() - began
            self._metrics.request(outcome.checkpoint, outcome.version, task, outcome.code, seconds)


async def _take(mailbox: Mailbox, deadline: float) -> list[Closing]:
    """The engine ends what is late by itself; the time-out here is for an engine that cannot."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic()) + _GRACE):
            return await mailbox.take()
    except TimeoutError:
        raise DeadlineExceeded("the deadline has passed") from None


def _merge(messages: list[Closing]) -> tuple[list[frames.Delta], frames.Failed | None]:
    """What gathered while the caller was slow: one delta for each input at most, in the order of their newest text."""
    merged: dict[int, frames.Delta] = {}
    for delta in messages:
        if isinstance(delta, frames.Delta):
            before = merged.pop(delta.input_index, None)
            merged[delta.input_index] = delta if before is None else before.followed_by(delta)
    failed = next((message for message in messages if isinstance(message, frames.Failed)), None)
    return list(merged.values()), failed


def _expect_answer(message: Closing) -> frames.Answer:
    if isinstance(message, frames.Failed):
        raise _error(message)
    if not isinstance(message, frames.Answer):
        raise Bug("a unary request was answered by a delta: this is a bug")
    return message


def _error(failed: frames.Failed) -> TrineError:
    return from_reason(failed.reason, failed.message, failed.field, failed.retry_after)
