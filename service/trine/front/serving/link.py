"""The front's end of the socket to one engine process. Front process, event loop only.

The link is the single owner of what its engine holds. Every submitted id is settled exactly once: by the engine's closing
message, by EngineLost when the socket ends, or by being dropped when its caller has left.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from trine import frames
from trine.errors import EngineLost, Overloaded, TrineError, from_reason
from trine.front.serving.room import Room
from trine.front.serving.whole import whole

logger = logging.getLogger(__name__)

_ENDED = "the engine ended while it held the request"
_NO_PROCESS = "the engine's process could not be started"
_RESTART_SECONDS = 1.0
"""What a caller of a dead engine is told to wait; a restart takes about that long."""

_MANY, _PERIOD, _PAUSE = 20, 0.01, 0.001
"""From so many messages in so many seconds on, they leave so much later, all that gathered meanwhile in one write: a frame
of its own costs both processes together about 100 us. One caller who waits for each answer cannot send so many (docs/decisions/0014)."""

Closing = frames.Answer | frames.Delta | frames.Failed


class Mailbox:
    """What one caller waits on, or is `told` of. While the caller is slow its messages gather here and leave together."""

    __slots__ = ("_messages", "_told", "_wake")

    def __init__(self, told: Callable[[], None] | None = None) -> None:
        self._messages: list[Closing] = []
        self._told = told
        self._wake: asyncio.Future[None] | None = None

    def put(self, message: Closing) -> None:
        self._messages.append(message)
        if self._told is not None:
            self._told()
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def messages(self) -> list[Closing]:
        """All since the last call."""
        taken, self._messages = self._messages, []
        return taken

    async def wait(self) -> None:
        """Return when there is a message."""
        while not self._messages:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake


class Link(asyncio.Protocol):
    """`ready` resolves with the engine's first message; `lost` is set when the process or its socket has ended."""

    def __init__(self, window: int, observe: Callable[[frames.Observed], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._window = window
        self._observe = observe
        self._ids = itertools.count(1)
        self._unpack = frames.Unpacker(frames.ToFront)
        self._calls: dict[int, Mailbox | None] = {}
        """id -> mailbox, or None when the caller has left and the engine has not let go yet."""
        self._unsent: dict[int, frames.Frame] = {}
        """id -> message of this turn, or of longer while there are many or the engine does not read; pings have negative ids."""
        self._counted, self._since, self._many = 0, self._loop.time(), False
        """Messages since when, and whether there were many in the period before."""
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self.room = Room(lambda: len(self._calls) < max(1, window // 2))
        """For requests that can wait: they leave half of the window to those that would be refused."""
        self.ready: asyncio.Future[frames.Ready] = self._loop.create_future()
        self.lost = asyncio.Event()
        self.last_pong = time.monotonic()

    @classmethod
    async def open(
        cls, command: Sequence[str], window: int, observe: Callable[[frames.Observed], None]
    ) -> tuple[Link, subprocess.Popen[bytes]]:
        """Start an engine. `command` gets ` --fd N` appended. Raises EngineLost when the system has no process to give."""
        ours, process = _spawn(command)
        try:
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_connection(lambda: cls(window, observe), sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            await whole(asyncio.to_thread(process.wait))
            raise
        return protocol, process

    # --- to the engine -----------------------------------------------------------------------------------------------

    def submit(self, build: Callable[[int], frames.Submit], mailbox: Mailbox) -> int:
        """Send a request and return its id. Raises Overloaded when the engine's window is full, EngineLost when it is gone."""
        if self.lost.is_set():
            raise EngineLost("the engine is gone")
        if len(self._calls) >= self._window:
            raise Overloaded("the engine holds as many requests as it may")
        number = next(self._ids)
        self._calls[number] = mailbox
        self._send(number, build(number))
        return number

    def cancel(self, number: int, mailbox: Mailbox) -> None:
        """Let go of a request; nothing happens when it was settled already, or belongs to an engine before this one."""
        if self._calls.get(number) is not mailbox:
            return
        if self._unsent.pop(number, None) is not None:
            del self._calls[number]
            self.room.freed()
        else:
            self._calls[number] = None
            self._send(number, frames.Cancel(number))

    def ping(self) -> None:
        self._send(-1, frames.Ping(0))

    def stop(self) -> None:
        self._send(-2, frames.Stop())

    def _send(self, key: int, message: frames.Frame) -> None:
        if not self._unsent:
            if self._are_many():
                self._loop.call_later(_PAUSE, self._flush)
            else:
                self._loop.call_soon(self._flush)
        self._unsent[key] = message
        self._counted += 1

    def _are_many(self) -> bool:
        """Whether messages came fast in the period before this one."""
        now = self._loop.time()
        passed = now - self._since
        if passed >= _PERIOD:
            self._many = self._counted >= _MANY * passed / _PERIOD
            self._since, self._counted = now, 0
        return self._many

    def _flush(self) -> None:
        if self._unsent and not self._paused and self._transport is not None:
            self._transport.write(frames.pack(list(self._unsent.values())))
            self._unsent.clear()

    # --- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._unpack.feed(data)
        except (ValueError, msgspec.MsgspecError):
            logger.exception("an engine sent bytes that are no frame")
            self.abort()
            return
        for message in messages:
            self._receive(message)

    def _receive(self, message: frames.Frame) -> None:
        match message:
            case frames.Step(deltas=deltas):
                for delta in deltas:
                    self._settle(delta.id, delta, closing=delta.last)
            case frames.Answer() | frames.Failed():
                self._settle(message.id, message, closing=True)
            case frames.Gone(id=number):
                self._calls.pop(number, None)
                self.room.freed()
            case frames.Observed():
                self._observe(message)
            case frames.Pong():
                self.last_pong = time.monotonic()
            case frames.Ready() if not self.ready.done():
                self.last_pong = time.monotonic()
                self.ready.set_result(message)
            case frames.LoadFailed(reason=reason, message=words):
                self._fail_to_load(from_reason(reason, words))

    def _settle(self, number: int, message: Closing, *, closing: bool) -> None:
        if closing:
            mailbox = self._calls.pop(number, None)
            self.room.freed()
        else:
            mailbox = self._calls.get(number)
        if mailbox is not None:
            mailbox.put(message)

    def _fail_to_load(self, error: TrineError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        self.room.close()
        calls, self._calls = self._calls, {}
        self._unsent.clear()
        self._transport = None
        self._fail_to_load(EngineLost("the engine ended while it loaded"))
        for number, mailbox in calls.items():
            if mailbox is not None:
                mailbox.put(frames.Failed(number, EngineLost.reason, _ENDED, retry_after=_RESTART_SECONDS))


def _spawn(command: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Our end of the socket, and the process that has the other.

    The child's end is closed here at once: while a copy is open, no EOF tells of the child's death.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise EngineLost(_NO_PROCESS) from error
    with theirs:
        try:
            # Blocks for about 2 ms (vfork); asyncio's own way would need a child watcher thread for each engine.
            process = subprocess.Popen(
                [*command, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise EngineLost(_NO_PROCESS) from error
    return ours, process
