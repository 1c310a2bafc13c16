"""Which sequence has which rows of the cache. The rows in use are always 0 to N-1. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from trine.engine.scheduling.sequence import Sequence

S = TypeVar("S", bound=Sequence)


class Rows(Generic[S]):
    """Iterates the running sequences in the order in which they were admitted; their rows are shuffled."""

    def __init__(self, slots: int, move: Callable[[int, int], None]) -> None:
        """`move` copies the cache's row `source` over `target`."""
        self.slots = slots
        self._move = move
        self._sequences: dict[S, None] = {}
        self._owners: list[S] = []
        """By row."""

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[S]:
        return iter(self._sequences)

    @property
    def used(self) -> int:
        """Rows that are somebody's."""
        return len(self._owners)

    def fit(self, sequence: S) -> bool:
        """Whether enough rows are free for it."""
        return len(self._owners) + sequence.width <= self.slots

    def place(self, sequence: S) -> None:
        """Give a sequence the first free rows. The caller has made sure that they fit."""
        first = len(self._owners)
        sequence.rows = list(range(first, first + sequence.width))
        self._owners += [sequence] * sequence.width
        self._sequences[sequence] = None

    def release(self, gone: Iterable[S]) -> None:
        """Take back all rows of some sequences; the last row moves into each hole.

        From the highest row down: all above a hole are then still wanted, so that no row is copied in vain.
        """
        gone = list(gone)
        for hole in sorted((row for sequence in gone for row in sequence.rows), reverse=True):
            owner, last = self._owners.pop(), len(self._owners)
            if last != hole:
                self._move(last, hole)
                owner.rows[owner.rows.index(last)] = hole
                self._owners[hole] = owner
        for sequence in gone:
            sequence.rows = []
            del self._sequences[sequence]
