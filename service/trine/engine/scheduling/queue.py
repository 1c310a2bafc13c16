"""What waits, in the order in which it will run. Engine process, its only thread.

Higher priority first; inside a priority the callers take turns, one input each, so that one caller's thousand inputs do not keep
another's single one waiting; inside a caller in order of arrival. Every operation but `discard` is O(1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from trine.engine.scheduling.call import Call, Item

I = TypeVar("I", bound=Item)  # noqa: E741

PATIENCE = 32
"""How many others may be taken before an item that does not fit when its turn has come."""


class FairQueue(Generic[I]):
    """Items of many callers, taken in turn."""

    def __init__(self) -> None:
        self._turns: dict[int, dict[str, deque[I]]] = {}
        """Priority to caller to that caller's items. The order of a priority's callers is the order of their turns."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, items: Iterable[I]) -> None:
        for item in items:
            callers = self._turns.setdefault(item.call.priority, {})
            callers.setdefault(item.call.caller, deque()).append(item)
            self._size += 1

    def first(self, fits: Callable[[I], bool] | None = None) -> I | None:
        """The item whose turn it is, left where it is.

        One that does not fit lets others by, so that a beam search that waits for many rows leaves none idle; but only `PATIENCE` of
        them, so that it does not wait for ever. A caller's own items never change places.
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
        items = callers.pop(item.call.caller)
        items.popleft()
        self._size -= 1
        self._keep(item.call.priority, item.call.caller, items)
        return item

    def _in_turn(self) -> Iterator[I]:
        """The first item of each caller, in the order of their turns."""
        for priority in sorted(self._turns, reverse=True):
            for items in self._turns[priority].values():
                yield items[0]

    def discard(self, call: Call) -> None:
        """Remove the items of `call`; its caller's other items keep their turn. Linear in what that caller has waiting."""
        items = self._turns.get(call.priority, {}).get(call.caller)
        if items is None:
            return
        kept = deque(item for item in items if item.call is not call)
        self._size -= len(items) - len(kept)
        if kept:
            self._turns[call.priority][call.caller] = kept
        else:
            del self._turns[call.priority][call.caller]
            self._keep(call.priority, call.caller, kept)

    def _keep(self, priority: int, caller: str, items: deque[I]) -> None:
        """Put a caller's items, if any, at the end of the round, and forget a priority that has no caller left."""
        if items:
            self._turns[priority][caller] = items
        elif not self._turns[priority]:
            del self._turns[priority]
