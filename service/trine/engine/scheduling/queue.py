"""What waits, in the order in which it will run. Engine process, its only thread.

Higher priority first; inside a priority the callers take turns, one input each, so that one caller's thousand inputs do not keep
another's single one waiting; inside a caller in order of arrival. Every operation but `discard` is O(1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from trine.engine.scheduling.call import Call, Item

I = TypeVar("I", bound=Item)  # noqa: E741


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

    def first(self) -> I | None:
        """The item whose turn it is, left where it is."""
        if not self._size:
            return None
        return next(iter(self._turns[max(self._turns)].values()))[0]

    def pop(self) -> I:
        """Take the item whose turn it is; its caller goes to the end of the round. Raises IndexError when nothing waits."""
        if not self._size:
            raise IndexError("nothing waits")
        priority = max(self._turns)
        callers = self._turns[priority]
        caller = next(iter(callers))
        items = callers.pop(caller)
        item = items.popleft()
        self._size -= 1
        self._keep(priority, caller, items)
        return item

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
