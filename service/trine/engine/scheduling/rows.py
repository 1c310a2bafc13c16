"""Which sequence has which row of the cache. The rows in use are always 0 to N-1. Engine process, its only thread."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from trine.engine.scheduling.sequence import NO_ROW, Sequence

S = TypeVar("S", bound=Sequence)


class Rows(Generic[S]):
    """Iterates the running sequences in the order of their rows."""

    def __init__(self, slots: int, move: Callable[[int, int], None]) -> None:
        """`move` copies the cache's row `source` over `target`."""
        self.slots = slots
        self._move = move
        self._sequences: list[S] = []
        self._admissions = itertools.count()

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[S]:
        return iter(self._sequences)

    @property
    def full(self) -> bool:
        return len(self._sequences) >= self.slots

    def place(self, sequence: S) -> None:
        """Give a sequence the first free row. The caller has made sure that there is one."""
        sequence.row = len(self._sequences)
        sequence.admission = next(self._admissions)
        self._sequences.append(sequence)

    def release(self, gone: Iterable[S]) -> None:
        """Take back rows; the last row moves into each hole.

        From the highest row down: all above a hole are then still wanted, so that no row is copied in vain.
        """
        for sequence in sorted(gone, key=lambda one: one.row, reverse=True):
            last = self._sequences.pop()
            if last is not sequence:
                self._move(last.row, sequence.row)
                last.row = sequence.row
                self._sequences[last.row] = last
            sequence.row = NO_ROW
