"""Rows stay compact and keep what is theirs."""

from __future__ import annotations

from random import Random

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
        assert rows.fit(sequence)
        rows.place(sequence)
    assert not rows.fit(generation([1], 1))
    rows.release([running[1]])
    assert moves == [(3, 1)]
    assert [sequence.row for sequence in running] == [0, NO_ROW, 2, 1]
    assert [running.index(sequence) for sequence in rows] == [0, 2, 3], "in the order of admission"


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


def test_a_sequence_with_several_rows_takes_them_together() -> None:
    moves: list[tuple[int, int]] = []
    rows = Rows[Sequence](5, lambda source, target: moves.append((source, target)))
    first, wide = generation([1], 1), generation([1], 1, width=3)
    rows.place(first)
    rows.place(wide)
    assert (wide.rows, rows.used, len(rows)) == ([1, 2, 3], 4, 2)
    assert rows.fit(generation([1], 1))
    assert not rows.fit(generation([1], 1, width=2))
    wide.rows = [2, 1, 3]  # beams are shuffled
    rows.release([first])
    assert (moves, wide.rows) == ([(3, 0)], [2, 1, 0])
    rows.release([wide])
    assert (rows.used, list(rows), wide.rows) == (0, [], [])


def test_one_that_needs_all_rows_fits_when_none_is_used() -> None:
    rows = Rows[Sequence](4, lambda source, target: None)
    running, wide = generation([1], 1, width=2), generation([1], 1, width=4)
    rows.place(running)
    assert not rows.fit(wide)
    assert rows.fit(generation([1], 1, width=2))
    rows.release([running])
    assert rows.fit(wide)
    assert not rows.fit(generation([1], 1, width=5))
    rows.place(wide)
    assert not rows.fit(generation([1], 1))


@given(st.lists(st.lists(st.integers(0, 15), max_size=6, unique=True), max_size=20), st.randoms())
def test_each_sequence_keeps_its_own_cache(rounds: list[list[int]], random: Random) -> None:
    cache: list[object] = [None] * 8
    rows = Rows[Sequence](8, lambda source, target: cache.__setitem__(target, cache[source]))
    for leaving in rounds:
        while rows.fit(sequence := generation([1], 1, width=random.randint(1, 4))):
            rows.place(sequence)
            for beam, row in enumerate(sequence.rows):
                cache[row] = (sequence, beam)
        rows.release([sequence for sequence in rows if sequence.row in leaving])
        assert sorted(row for sequence in rows for row in sequence.rows) == list(range(rows.used))
        for sequence in rows:
            assert [cache[row] for row in sequence.rows] == [(sequence, n) for n in range(sequence.width)]
