"""How long a caller may let an answer wait by not reading it. Front process, event loop only."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self

from trine.errors import DeadlineExceeded
from trine.front.wire.status import Context


class Patience:
    """Writes that may wait `seconds`, each, or all together. The context raises DeadlineExceeded when they waited longer.

    One timer watches all writes of a call, for a timer of each would cost as much as all else that is done for a short message.
    """

    def __init__(self, seconds: float, *, each: bool) -> None:
        self._seconds = seconds
        self._each = each
        self._waited = 0.0
        """Of the writes before, where all count."""
        self._since: float | None = None
        """When the write that runs began."""
        self._over = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, context: Context, message: Any) -> None:
        self._since = time.monotonic()
        await context.write(message)
        if not self._each:
            self._waited += time.monotonic() - self._since
        self._since = None

    def _look(self) -> None:
        """At the earliest moment at which a write could have waited too long."""
        now = time.monotonic()
        left = self._seconds - self._waited - (0.0 if self._since is None else now - self._since)
        if left > 0 or self._since is None:
            self._watch(max(left, 0.001))
        else:
            self._over = True
            assert self._task is not None
            self._task.cancel()

    def _watch(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watch(self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        assert self._task is not None
        self._timer.cancel()
        if self._over and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise DeadlineExceeded("the answer was not read in time") from None
