"""Rows stay compact and keep what is theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import generation
from trine.engine.scheduling.rows import Rows
from trine.engine.scheduling.sequence import NO_ROW, Sequence


def test_the_last_row_moves_into_the_hole() -> None:
    moves: list[tuple[int, int]] = []
    rows = Rows[Sequence](4, lambda source, target: moves.append((source, target)))
    running = [generation([1], 1) for _ in range(4)]
    for sequence in running:
        rows.place(sequence)
    assert rows.full
    rows.release([running[1]])
    assert moves == [(3, 1)]
    assert [sequence.row for sequence in running] == [0, NO_ROW, 2, 1]
    assert [running.index(sequence) for sequence in rows] == [0, 3, 2]


def test_no_row_is_copied_in_vain() -> None:
    moves: list[tuple[int, int]] = []
    rows = Rows[Sequence](4, lambda source, target: moves.append((source, target)))
    running = [generation([1], 1) for _ in range(4)]
    for sequence in running:
        rows.place(sequence)
    rows.release([running[1], running[3], running[2]])
    assert moves == []
    rows.release([running[0]])
    assert len(rows) == 0
    assert moves == []


@given(st.lists(st.lists(st.integers(0, 15), max_size=6, unique=True), max_size=20))
def test_each_sequence_keeps_its_own_cache(rounds: list[list[int]]) -> None:
    cache: list[object] = [None] * 8
    rows = Rows[Sequence](8, lambda source, target: cache.__setitem__(target, cache[source]))
    for leaving in rounds:
        while not rows.full:
            sequence = generation([1], 1)
            rows.place(sequence)
            cache[sequence.row] = sequence
        rows.release([sequence for sequence in rows if sequence.row in leaving])
        assert [sequence.row for sequence in rows] == list(range(len(rows)))
        assert all(cache[sequence.row] is sequence for sequence in rows)
