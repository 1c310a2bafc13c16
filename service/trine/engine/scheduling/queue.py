"""What waits, in the order in which it will run. Engine process, its only thread.

Higher priority first. Inside a priority rounds: each caller's turn comes once in a round, with one input, so that one caller's
thousand inputs do not keep another's single one waiting, and who has just come is served before those who had their turn. Inside a
round, and inside a caller, the earliest deadline goes first, of equal ones the one that came first: haste gains a place in the round, never a second turn.
`discard` looks at the calls of one caller, `take` and `first` at each caller's first.
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
"""How many others may be taken before an item that does not fit when its turn has come, and how many callers may join a round."""


class _Caller(Generic[I]):
    """What waits of one caller in one priority: its calls by deadline, each with its items in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[deque[I]] = []

    @property
    def first(self) -> I:
        return self.calls[0][0]

    def add(self, call: Call, items: Iterable[I]) -> int:
        """Returns how many."""
        added = deque(items)
        known = next((queue for queue in self.calls if queue[0].call is call), None)
        if known is None:
            insort(self.calls, added, key=_deadline)
        else:
            known.extend(added)
        return len(added)

    def take(self) -> None:
        self.calls[0].popleft()
        if not self.calls[0]:
            del self.calls[0]

    def discard(self, call: Call) -> int:
        """Returns how many items went."""
        gone = [queue for queue in self.calls if queue[0].call is call]
        self.calls = [queue for queue in self.calls if queue[0].call is not call]
        return sum(map(len, gone))


class _Rounds(Generic[I]):
    """The callers of one priority: those whose turn is still to come in this round, and those who wait for the next one."""

    def __init__(self) -> None:
        self.callers: dict[str, _Caller[I]] = {}
        self._due: list[_Caller[I]] = []
        self._next: list[_Caller[I]] = []
        """Both by deadline."""
        self._served: set[str] = set()
        """Who had a turn in this round, also those of whom nothing waits any more."""
        self._joined = 0

    def in_turn(self) -> Iterator[_Caller[I]]:
        yield from self._due
        yield from self._next

    def enter(self, caller: _Caller[I]) -> None:
        """Give a place to a caller of whom something waits now.

        Without a bound on those who join, a stream of ever new callers would let no round end.
        """
        self.callers[caller.name] = caller
        if caller.name in self._served or self._joined >= PATIENCE:
            insort(self._next, caller, key=_callers_deadline)
        else:
            self._joined += 1
            insort(self._due, caller, key=_callers_deadline)

    def leave(self, caller: _Caller[I]) -> None:
        del self.callers[caller.name]
        (self._due if caller in self._due else self._next).remove(caller)

    def move(self, caller: _Caller[I]) -> None:
        """What waits of it has changed: its place in the round may be another now."""
        places = self._due if caller in self._due else self._next
        places.remove(caller)
        insort(places, caller, key=_callers_deadline)

    def serve(self, caller: _Caller[I]) -> None:
        """The caller has its turn now. The next round begins with the first turn in it: until then who comes joins the old one."""
        if not self._due:
            self._due, self._next = self._next, []
            self._served, self._joined = set(), 0
        self.leave(caller)
        self._served.add(caller.name)
        if caller.calls:
            self.enter(caller)


class FairQueue(Generic[I]):
    """Items of many callers, taken in turn."""

    def __init__(self) -> None:
        self._rounds: dict[int, _Rounds[I]] = {}
        """By priority."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def callers(self) -> int:
        """Of how many callers something waits; one that waits in two priorities counts twice."""
        return sum(len(rounds.callers) for rounds in self._rounds.values())

    def add(self, items: Iterable[I]) -> None:
        for call, group in groupby(items, key=attrgetter("call")):
            rounds = self._rounds.setdefault(call.priority, _Rounds())
            known = rounds.callers.get(call.caller)
            caller = known or _Caller[I](call.caller)
            self._size += caller.add(call, group)
            if known is None:
                rounds.enter(caller)
            else:
                rounds.move(caller)

    def first(self, fits: Callable[[I], bool] | None = None) -> I | None:
        """The item whose turn it is, left where it is.

        One that does not fit lets others by, so that a beam search that waits for many rows leaves none idle; but only `PATIENCE` of
        them, so that it does not wait for ever. What waits of a caller keeps its order.
        """
        for caller in self._in_turn():
            if fits is None or fits(caller.first):
                return caller.first
            if caller.first.passed >= PATIENCE:
                return None
        return None

    def take(self, item: I) -> I:
        """Take what `first` has just told; its caller has had its turn."""
        for caller in self._in_turn():
            if caller.first is item:
                break
            caller.first.passed += 1
        rounds = self._rounds[item.call.priority]
        caller = rounds.callers[item.call.caller]
        caller.take()
        self._size -= 1
        rounds.serve(caller)
        self._tidy(item.call.priority)
        return item

    def discard(self, call: Call) -> None:
        """Remove the items of `call`; its caller's other items keep their turn."""
        rounds = self._rounds.get(call.priority)
        caller = rounds.callers.get(call.caller) if rounds else None
        if rounds is None or caller is None:
            return
        self._size -= caller.discard(call)
        if caller.calls:
            rounds.move(caller)
        else:
            rounds.leave(caller)
            self._tidy(call.priority)

    def _in_turn(self) -> Iterator[_Caller[I]]:
        for priority in sorted(self._rounds, reverse=True):
            yield from self._rounds[priority].in_turn()

    def _tidy(self, priority: int) -> None:
        """A priority of which nothing waits has no round."""
        if not self._rounds[priority].callers:
            del self._rounds[priority]


def _deadline(queue: deque[I]) -> float:
    return queue[0].call.deadline


def _callers_deadline(caller: _Caller[I]) -> float:
    return caller.first.call.deadline
