"""One request while it is answered: what it holds, and what the metrics will say of it. Front process, event loop only."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from trine import frames
from trine.errors import Bug, DeadlineExceeded, TrineError, from_reason
from trine.front.serving.link import Mailbox
from trine.front.serving.work import Work
from trine.registry.records import Record
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

R = TypeVar("R")

_GRACE = 0.25
"""Seconds after a deadline in which the engine's own word about it may still come."""


class Request(Generic[R]):
    """Ended exactly once, whatever happens to it; as a context manager it ends itself.

    With `told`, that is called when the closing message is there, and `result` may be asked for; else the mailbox is waited for.
    """

    __slots__ = ("_began", "_counted", "_holds", "_metrics", "deadline", "mailbox", "version", "work")

    def __init__(
        self, work: Work[R], timeout: float, metrics: Metrics, told: Callable[[], None] | None = None
    ) -> None:
        self.work = work
        self.mailbox = Mailbox(told)
        self.version: Record | None = None
        """None until the reference is resolved."""
        self._metrics = metrics
        self._began = time.monotonic()
        self.deadline = self._began + timeout
        self._counted = False
        self._holds: list[Callable[[], object]] = []

    def holds(self, give_back: Callable[[], object]) -> None:
        """`give_back` is called when the request ends, after what was taken later."""
        self._holds.append(give_back)

    def watch(self, number: int) -> None:
        """An engine ends what is late by itself; this is for one that cannot."""
        seconds = self.remaining + _GRACE
        late = frames.Failed(number, DeadlineExceeded.reason, "the deadline has passed")
        timer = asyncio.get_running_loop().call_later(seconds, self.mailbox.put, late)
        self.holds(timer.cancel)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    def result(self) -> tuple[str, list[R]]:
        """NAME:VERSION and a result for each input, once the engine has answered. Raises its error."""
        answer = self.mailbox.messages()[0]
        if isinstance(answer, frames.Failed):
            raise self.failed(answer)
        if not isinstance(answer, frames.Answer) or self.version is None:
            raise Bug("a unary request was answered by a delta: this is a bug")
        results = self.work.results(answer)
        self._count("OK")
        return self.version.reference, results

    def failed(self, message: frames.Failed) -> TrineError:
        error = from_reason(message.reason, message.message, message.field, message.retry_after)
        self._count(error.reason)
        return error

    def end(self, error: BaseException | None = None) -> None:
        """Give back what it holds, and count it unless it was: callers must not see an answer before the metrics do."""
        self._count(self._code(error))
        while self._holds:
            give_back = self._holds.pop()
            try:
                give_back()
            except Exception:  # a bug, which must not keep the rest
                logger.exception("a request could not give back all that it held")

    def _code(self, error: BaseException | None) -> str:
        """gRPC cancels a handler for either reason, the caller's leaving or the deadline; only the clock tells which."""
        if error is None:
            return "OK"
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            late = time.monotonic() >= self.deadline
            return DeadlineExceeded.reason if late else "CANCELLED"
        return error.reason if isinstance(error, TrineError) else Bug.reason

    def _count(self, code: str) -> None:
        if self._counted:
            return
        self._counted = True
        name, number = (
            ("_unknown", "") if self.version is None else (self.version.checkpoint, str(self.version.number))
        )
        self._metrics.request(name, number, self.work.task, code, time.monotonic() - self._began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)
