"""What waits, in the order in which it will run. Engine process, its only thread.

Higher priority first; inside a priority the callers take turns, one input each, so that one caller's thousand inputs do not keep
another's single one waiting; inside a caller the call with the earliest deadline, of equal ones the one that came first. `add` and
`discard` look at all calls that wait, which the front's window keeps few; `take` and `first` at each caller's first.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Generic, TypeVar

from trine.engine.scheduling.call import Call, Item

I = TypeVar("I", bound=Item)  # noqa: E741

PATIENCE = 32
"""How many others may be taken before an item that does not fit when its turn has come."""


class FairQueue(Generic[I]):
    """Items of many callers, taken in turn."""

    def __init__(self) -> None:
        self._turns: dict[int, dict[str, list[deque[I]]]] = {}
        """Priority to caller to the items of each of that caller's calls. The order of a priority's callers is that of their turns."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, items: Iterable[I]) -> None:
        for call, group in groupby(items, key=attrgetter("call")):
            calls = self._turns.setdefault(call.priority, {}).setdefault(call.caller, [])
            added = deque(group)
            self._size += len(added)
            known = next((queue for queue in calls if queue[0].call is call), None)
            if known is None:
                insort(calls, added, key=_deadline)
            else:
                known.extend(added)

    def first(self, fits: Callable[[I], bool] | None = None) -> I | None:
        """The item whose turn it is, left where it is.

        One that does not fit lets others by, so that a beam search that waits for many rows leaves none idle; but only `PATIENCE` of
        them, so that it does not wait for ever. What waits of a caller keeps its order.
        """
        for item in self._in_turn():
            if fits is None or fits(item):
                return item
            if item.passed >= PATIENCE:
                return None
        return None

    def take(self, item: I) -> I:
        """Take what `first` has just told; its caller goes to the end of the round."""
        for other in self._in_turn():
            if other is item:
                break
            other.passed += 1
        callers = self._turns[item.call.priority]
        calls = callers.pop(item.call.caller)
        calls[0].popleft()
        self._size -= 1
        self._keep(item.call.priority, item.call.caller, calls if calls[0] else calls[1:])
        return item

    def _in_turn(self) -> Iterator[I]:
        """The first item of each caller, in the order of their turns."""
        for priority in sorted(self._turns, reverse=True):
            for calls in self._turns[priority].values():
                yield calls[0][0]

    def discard(self, call: Call) -> None:
        """Remove the items of `call`; its caller's other items keep their turn."""
        calls = self._turns.get(call.priority, {}).get(call.caller)
        if calls is None:
            return
        kept = [queue for queue in calls if queue[0].call is not call]
        self._size -= sum(map(len, calls)) - sum(map(len, kept))
        if kept:
            self._turns[call.priority][call.caller] = kept
        else:
            del self._turns[call.priority][call.caller]
            self._keep(call.priority, call.caller, kept)

    def _keep(self, priority: int, caller: str, calls: list[deque[I]]) -> None:
        """Put what waits of a caller, if anything, at the end of the round, and forget a priority that has no caller left."""
        if calls:
            self._turns[priority][caller] = calls
        elif not self._turns[priority]:
            del self._turns[priority]


def _deadline(queue: deque[I]) -> float:
    return queue[0].call.deadline
