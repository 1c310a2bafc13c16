"""The engine's loop: receive, choose, run, settle, send. One thread does all of it, so nothing here needs a lock.

A call is open from its Submit to its one closing message: Answer, Failed, Gone, or a delta with `last`. While a call is open
something waits or runs, and the socket is only polled between two steps; else the loop sleeps in `recv`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from trine import frames
from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.meter import Meter
from trine.engine.tasks import Task
from trine.errors import Bug, DeadlineExceeded, TrineError

logger = logging.getLogger(__name__)

_PORTION = 1 << 20
_MOST_AT_ONCE = 8 << 20
"""Bytes read between two steps: a front that never stops sending must not keep the engine from running."""

I = TypeVar("I", bound=Item)  # noqa: E741


class Scheduler(Protocol[I]):
    """What decides which items run next; `DynamicBatcher` and the two `ContinuousBatcher`s."""

    @property
    def waiting(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def cache_used(self) -> float: ...

    def add(self, items: Sequence[I], /) -> None: ...

    def discard(self, call: Call, /) -> int:
        """Forget all items of a call. Returns the tokens that were computed in vain."""

    def late(self) -> list[Call]:
        """The calls that cannot be answered before their deadline any more."""

    def choose(self) -> list[I]: ...

    def run(self, batch: Sequence[I], /) -> Sequence[Any]: ...

    def settle(self, batch: Sequence[I], outputs: Sequence[Any], /) -> list[I]:
        """Returns the items that have news."""


class Loop(Generic[I]):
    def __init__(
        self,
        sock: socket.socket,
        task: Task[I],
        scheduler: Scheduler[I],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sock` is blocking; `meter` is the one that the scheduler writes to."""
        self._sock = sock
        self._task = task
        self._scheduler = scheduler
        self._meter = meter
        self._clock = clock
        self._unpack = frames.Unpacker(frames.ToEngine)
        self._calls: dict[int, Call] = {}
        self._deltas: list[frames.Delta] = []
        self._out: list[frames.Frame] = []

    def run(self) -> None:
        """Serve until the front says Stop or is gone. Raises ValueError or MsgspecError when it talks nonsense."""
        try:
            self._send()  # the gauges of an engine that has just started
            while self.turn():
                pass
        except (EOFError, ConnectionError):
            logger.info("the front is gone")

    def turn(self) -> bool:
        """Once around: what came in, one step, what there is to say. Waits for a message when no call is open.

        Returns False after a Stop. Raises EOFError or ConnectionError when the front is gone.
        """
        if not self._accept(self._receive()):
            return False
        self._expire()
        self._step()
        self._send()
        return True

    # --- choose, run, settle -----------------------------------------------------------------------------------------

    def _step(self) -> None:
        batch = self._scheduler.choose()
        if not batch:
            return
        began = self._clock()
        try:
            outputs = self._scheduler.run(batch)
            self._meter.ran(batch, began)
            news = self._scheduler.settle(batch, outputs)
        except Exception:
            logger.exception("a step of %d sequences failed", len(batch))
            for item in batch:
                self._fail(item.call, Bug("the engine failed while it computed this request"))
            return
        for item in news:
            self._tell(item)

    def _tell(self, item: I) -> None:
        """Say what one item has to say; whatever goes wrong with it, its batch-mates never notice."""
        if item.call.id not in self._calls:
            return
        try:
            message = self._task.tell(item)
        except Exception as error:
            self._fail(item.call, _own_words(error))
            return
        if isinstance(message, frames.Delta):
            self._deltas.append(message)
            if message.last:
                del self._calls[message.id]
        elif message is not None:
            self._out.append(message)
            del self._calls[message.id]

    # --- from the front ----------------------------------------------------------------------------------------------

    def _receive(self) -> list[Any]:
        """All messages that are here; waits for one when no call is open. Raises EOFError when the front is gone."""
        messages: list[Any] = []
        size = 0
        while size < _MOST_AT_ONCE:
            try:
                data = self._sock.recv(_PORTION, socket.MSG_DONTWAIT if self._calls or messages else 0)
            except BlockingIOError:
                break
            if not data:
                raise EOFError
            messages += self._unpack.feed(data)
            size += len(data)
        return messages

    def _accept(self, messages: Sequence[Any]) -> bool:
        """Take each message in; False when one says Stop."""
        cancelled = {message.id for message in messages if isinstance(message, frames.Cancel)}
        for message in messages:
            match message:
                case frames.Stop():
                    return False
                case frames.Ping():
                    self._out.append(frames.Pong(message.number))
                case frames.Cancel():
                    self._cancel(message.id)
                case frames.Submit() if message.id in cancelled:
                    # Its caller left while it travelled: tokenizing it would be in vain.
                    self._out.append(frames.Gone(message.id))
                case frames.Submit():
                    self._admit(message)
        return True

    def _admit(self, request: frames.Submit) -> None:
        began = self._clock()
        call = Call(request.id, request.caller, request.priority, request.deadline, began, len(request.texts))
        self._calls[call.id] = call
        if request.deadline <= began:
            self._fail(call, _late())
            return
        try:
            items = self._task.prepare(request, call)
        except Exception as error:
            self._fail(call, _own_words(error))
            return
        self._meter.tokenized(self._clock() - began)
        self._scheduler.add(items)

    def _cancel(self, number: int) -> None:
        call = self._calls.get(number)
        if call is not None:
            self._close(call, frames.Gone(number))

    def _expire(self) -> None:
        """End the calls whose deadline has passed, waiting or running, or cannot be kept. The window keeps their number small."""
        now = self._clock()
        for call in [call for call in self._calls.values() if call.deadline <= now]:
            self._fail(call, _late())
        for call in self._scheduler.late():
            self._fail(call, DeadlineExceeded("the deadline comes too soon for what was asked"))

    # --- to the front ------------------------------------------------------------------------------------------------

    def _fail(self, call: Call, error: TrineError) -> None:
        failed = frames.Failed(call.id, error.reason, error.message, error.field, error.retry_after)
        self._close(call, failed)

    def _close(self, call: Call, message: frames.Frame) -> None:
        """End an open call before its answer; one that is closed already stays as it is."""
        if self._calls.pop(call.id, None) is not None:
            self._meter.wasted(self._scheduler.discard(call))
            self._out.append(message)

    def _send(self) -> None:
        """All that this step has to say, in one write, deltas first: a closing message follows its call's text.

        May block; the front always reads.
        """
        scheduler = self._scheduler
        observed = self._meter.take(scheduler.waiting, scheduler.running, scheduler.cache_used)
        messages = [*([frames.Step(self._deltas)] if self._deltas else []), *self._out]
        if observed is not None:
            messages.append(observed)
        if messages:
            self._sock.sendall(frames.pack(messages))
        self._deltas, self._out = [], []


def _own_words(error: Exception) -> TrineError:
    """Only our own errors' words leave the process; anything else is logged and called a bug."""
    if isinstance(error, TrineError):
        return error
    logger.error("a request failed", exc_info=error)
    return Bug("the engine failed on this request")


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline has passed")
