"""Where requests wait that can wait, as those of streams: first come, first served. Front process, event loop only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Room:
    """`is_free` tells whether there is room; whoever frees some calls `freed`."""

    def __init__(self, is_free: Callable[[], bool]) -> None:
        self._is_free = is_free
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def is_there(self) -> bool:
        """Whether `wait` would return at once."""
        return not self._line and self._is_free()

    async def wait(self) -> None:
        """Return when there is room and all who came before had their turn. What is taken must be taken before the next await."""
        if self.is_there:
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.freed()  # it was this one's turn already: the next one's, then
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def freed(self) -> None:
        """There may be room: the first in line may have it. Whoever waited calls this as well when it took what it wanted, or did not:
        much that is given back at once wakes one only, who passes it on.

        A turn whose task is being cancelled is cancelled before the task can leave the line.
        """
        while self._line and self._is_free():
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def close(self) -> None:
        """Nobody need wait any longer: there is nothing left to wait for."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
