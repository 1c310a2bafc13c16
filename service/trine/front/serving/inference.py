"""One request from its admission to its answer. Front process, event loop only.

Every request passes the same way: resolve the reference, check the task, take a permit, lease the engine, submit, wait for the
mailbox. Whatever ends it, the permit and the lease are given back and the engine is told to let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass

from trine import frames
from trine.artifact import Task
from trine.config import Settings
from trine.errors import Bug, DeadlineExceeded, TrineError, WrongTask, from_reason
from trine.front.serving.admission import Admission
from trine.front.serving.link import Closing, Mailbox
from trine.front.serving.pool import Pool
from trine.registry import references
from trine.registry.records import Record
from trine.registry.repository import Repository
from trine.sampling import Sampling, Stopping
from trine.telemetry.metrics import Metrics

_GRACE = 0.25
"""Seconds after a deadline in which the engine's own word about it may still come."""

_VERBS = {
    Task.CLASSIFICATION: "Classify",
    Task.GENERATION: "Generate",
    Task.TRANSLATION: "Translate",
}


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

    async def classify(
        self,
        reference: str,
        texts: list[str],
        *,
        top_k: int,
        priority: int,
        caller: str,
        timeout: float | None,
    ) -> tuple[str, list[frames.Classified]]:
        """(NAME:VERSION, one result for each text). `timeout` in seconds, None for the server's default."""
        deadline = self._deadline(timeout)

        def build(number: int) -> frames.Submit:
            return frames.Classify(number, texts, deadline, priority, caller, top_k)

        with self._submitted(reference, Task.CLASSIFICATION, texts, deadline, build) as (record, mailbox):
            (answer,) = await _take(mailbox, deadline)
            return record.reference, _expect_answer(answer).classified

    async def generate(
        self,
        reference: str,
        texts: list[str],
        *,
        task: Task,
        sampling: Sampling,
        max_new_tokens: int | None,
        stopping: Stopping,
        logprobs: int | None,
        split: bool,
        priority: int,
        caller: str,
        timeout: float | None,
    ) -> tuple[str, list[frames.Generated]]:
        """Generation or translation: (NAME:VERSION, one result for each text)."""
        deadline = self._deadline(timeout)

        def build(number: int) -> frames.Submit:
            return frames.Generate(
                number,
                texts,
                deadline,
                priority,
                caller,
                sampling,
                max_new_tokens,
                stream=False,
                stopping=stopping,
                logprobs=logprobs,
                split=split,
            )

        with self._submitted(reference, task, texts, deadline, build) as (record, mailbox):
            (answer,) = await _take(mailbox, deadline)
            return record.reference, _expect_answer(answer).generated

    async def stream(
        self,
        reference: str,
        texts: list[str],
        *,
        task: Task,
        sampling: Sampling,
        max_new_tokens: int | None,
        stopping: Stopping,
        logprobs: int | None,
        split: bool,
        priority: int,
        caller: str,
        timeout: float | None,
    ) -> AsyncGenerator[tuple[str, list[frames.Delta]], None]:
        """The same as deltas, as they come. Closing the iterator cancels the request."""
        deadline = self._deadline(timeout)

        def build(number: int) -> frames.Submit:
            return frames.Generate(
                number,
                texts,
                deadline,
                priority,
                caller,
                sampling,
                max_new_tokens,
                stream=True,
                stopping=stopping,
                logprobs=logprobs,
                split=split,
            )

        with self._submitted(reference, task, texts, deadline, build) as (record, mailbox):
            last = False
            while not last:
                deltas, failed = _merge(await _take(mailbox, deadline))
                if deltas:
                    yield record.reference, deltas
                    last = deltas[-1].last
                if failed is not None:
                    raise _error(failed)

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._settings.default_timeout if timeout is None else timeout)

    @contextlib.contextmanager
    def _submitted(
        self,
        reference: str,
        task: Task,
        texts: Sequence[str],
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
            with self._admission.permit(texts), self._pool.lease(record) as engine:
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
