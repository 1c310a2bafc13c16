"""Beam searches in the batchers, on paper."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import (
    AlphabetRunner,
    AlphabetSearch,
    AlphabetSeq2Seq,
    Clock,
    alone,
    call,
    generation,
    search,
    searched,
    translation,
)
from trine.engine.scheduling.beams import lay_out
from trine.engine.scheduling.continuous import ContinuousBatcher, DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.queue import PATIENCE
from trine.engine.scheduling.sequence import Sequence


def decoder(slots: int, budget: int = 64) -> tuple[DecoderBatcher[Sequence], AlphabetRunner, Meter]:
    runner, meter = AlphabetRunner(slots), Meter(Clock())
    return DecoderBatcher(runner, budget, meter), runner, meter


def encoder_decoder(
    slots: int, budget: int = 64
) -> tuple[EncoderDecoderBatcher[Sequence], AlphabetSeq2Seq, Meter]:
    runner, meter = AlphabetSeq2Seq(slots), Meter(Clock())
    return EncoderDecoderBatcher(runner, budget, meter), runner, meter


def step(batcher: ContinuousBatcher[Any]) -> list[Any]:
    batch = batcher.choose()
    return batcher.settle(batch, batcher.run(batch)) if batch else []


def finish(batcher: ContinuousBatcher[Any]) -> None:
    for _ in range(10_000):
        if not (batcher.waiting or batcher.running):
            assert batcher.cache_used == 0
            return
        step(batcher)
    raise AssertionError("it never ends")


def texts(sequence: Sequence) -> list[list[int]]:
    assert isinstance(sequence.choice, AlphabetSearch)
    return sequence.choice.texts


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "parents", "laid", "copies"),
    [
        ([4, 2, 7], [0, 1, 2], [4, 2, 7], []),
        ([4, 2, 7], [2, 0, 1], [7, 4, 2], []),  # an order alone costs nothing
        ([4, 2, 7], [1, 1, 0], [2, 7, 4], [(2, 7)]),
        ([4, 2, 7], [0, 0, 0], [4, 2, 7], [(4, 2), (4, 7)]),  # the first choice, too
        ([4, 2, 7], [1, 1], [2, 4, 7], [(2, 4)]),
        ([4, 2, 7], [1], [2, 4, 7], []),
    ],
)
def test_layout(rows: list[int], parents: list[int], laid: list[int], copies: list[tuple[int, int]]) -> None:
    assert lay_out(rows, parents) == (laid, copies)


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), min_size=1, max_size=8), st.randoms())
def test_no_order_of_the_copies_loses_a_beam(rows: list[int], parents: list[int], random: Random) -> None:
    cache = {row: beam for beam, row in enumerate(rows)}
    laid, copies = lay_out(rows, parents)
    random.shuffle(copies)
    for source, target in copies:
        cache[target] = cache[source]
    assert [cache[row] for row in laid[: len(parents)]] == parents
    assert sorted(laid) == sorted(rows)
    assert len(copies) == len(parents) - len(set(parents)), "no more than needed"


# --- batches ---------------------------------------------------------------------------------------------------------


def test_on_paper() -> None:
    batcher, runner, _ = decoder(3)
    found = search([1, 2], 2, 3)
    batcher.add([found])
    assert step(batcher) == [found]
    assert (found.rows, found.beams, runner.forks) == ([0, 1], [4, 3], [(0, 1)])
    assert batcher.cache_used == 2 / 3
    assert step(batcher) == [found]
    assert (found.rows, found.beams, runner.forks) == ([0, 1], [8, 7], [(0, 1), (0, 1)])
    assert runner.cache[1] == [1, 2, 4]
    assert step(batcher) == [found]
    assert (texts(found), found.finish) == ([[4, 8, 16], [4, 8, 15]], "stop")
    assert runner.steps == [[(0, 2)], [(0, 1), (1, 1)], [(0, 1), (1, 1)]]
    assert (batcher.running, batcher.cache_used, found.rows) == (0, 0.0, [])


def mixed(count: int) -> list[Sequence]:
    """Searches of several widths and plain sequences, of calls of their own."""
    random = Random(count)
    made = []
    for number in range(count):
        prompt = [random.randrange(1, 26) for _ in range(random.randint(1, 20))]
        limit, of = random.randint(1, 9), call(number)
        width = random.choice([1, 1, 2, 3, 4])
        made.append(generation(prompt, limit, of) if width == 1 else search(prompt, width, limit, of))
    return made


def check(sequence: Sequence, start: list[int]) -> None:
    prompt = [*sequence.tokens, *start]
    if sequence.width == 1:
        assert (sequence.context[sequence.begin :], sequence.finish) == alone(prompt, sequence.limit)
    else:
        assert texts(sequence) == searched(prompt, sequence.width, sequence.limit)


@pytest.mark.parametrize("slots", [4, 7, 30])
def test_searches_in_company_find_what_each_finds_alone(slots: int) -> None:
    batcher, runner, _ = decoder(slots, budget=16)
    sequences = mixed(60)
    for sequence in sequences:
        batcher.add([sequence])
        step(batcher)
    finish(batcher)
    for sequence in sequences:
        check(sequence, [])
    assert runner.moves
    assert runner.forks


def test_searches_of_an_encoder_decoder_in_company() -> None:
    batcher, runner, _ = encoder_decoder(6, budget=32)
    sequences = mixed(60)
    for sequence in sequences:
        sequence.context, sequence.begin = [1], 1
        batcher.add([sequence])
        step(batcher)
    finish(batcher)
    for sequence in sequences:
        check(sequence, [1])
    assert runner.moves
    assert runner.forks


def test_those_who_leave_change_nothing_for_the_others() -> None:
    batcher, _, _ = decoder(7, budget=16)
    sequences = mixed(60)
    batcher.add(sequences)
    for leaving in sequences[::3]:
        step(batcher)
        batcher.discard(leaving.call)
    finish(batcher)
    for sequence in sequences:
        if sequence not in sequences[::3]:
            check(sequence, [])


def test_a_search_waits_for_all_its_rows_and_nobody_passes_it() -> None:
    batcher, _, _ = decoder(4)
    running, wide, behind = generation([1, 2], 2), search([1, 2], 4, 2), generation([3], 1)
    batcher.add([running, wide, behind])
    step(batcher)
    assert (batcher.running, batcher.waiting) == (1, 2), "three rows are free, and four are wanted"
    step(batcher)
    step(batcher)
    assert (len(wide.rows), behind.rows) == (4, [])
    finish(batcher)
    check(behind, [])


def test_a_search_that_does_not_fit_lets_other_callers_by_but_not_for_ever() -> None:
    batcher, _, _ = decoder(4)
    first, wide = generation([1, 2], 5), search([1, 2], 4, 2, call(caller="wide"))
    others = [generation([1, 2], 3, call(caller=f"narrow {number}")) for number in range(3 * PATIENCE)]
    batcher.add([first])
    step(batcher)
    batcher.add([wide, *others])
    while not wide.rows:
        step(batcher)
    assert sum(other.finish == "length" for other in others) == PATIENCE
    finish(batcher)
    for sequence in (first, wide, *others):
        check(sequence, [])


def test_each_beam_counts_in_the_budget_of_a_step() -> None:
    batcher, runner, meter = decoder(8, budget=16)
    batcher.add([search([1, 2], 4, 9)])
    step(batcher)
    step(batcher)  # the first choice made two beams
    batcher.add([generation([1] * 7, 1), generation([1] * 6, 1), generation([1] * 5, 1)])
    meter.forget()
    batch = batcher.choose()
    meter.ran(batch, 0.0)
    batcher.settle(batch, batcher.run(batch))
    assert runner.steps[-1] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 7), (6, 5)], "12 were left beside 4 beams"
    observed = meter.take(0, 0, 0.0)
    assert observed is not None
    assert (observed.batch_size, observed.batch_tokens) == ([3], [16])


def test_more_beams_than_the_budget_stop_no_stream_and_no_prompt() -> None:
    batcher, runner, _ = decoder(20, budget=4)
    wide, stream = search([1, 2], 16, 12), generation([1, 2], 9)
    batcher.add([wide, stream])
    while wide.lanes < 16:
        step(batcher)
    older, younger = generation([1] * 18, 1), generation([2] * 10, 1)
    batcher.add([older, younger])
    for chunk in (8, 8, 2):
        step(batcher)
        assert [tokens for row, tokens in runner.steps[-1] if row == older.row or tokens > 1] == [chunk]
        assert sum(tokens == 1 for _, tokens in runner.steps[-1]) >= 16, "all beams go on"
    finish(batcher)
    for sequence in (wide, stream, older, younger):
        check(sequence, [])


def test_a_step_of_a_search_writes_one_token() -> None:
    batcher, _, meter = decoder(4)
    batcher.add([search([1, 2], 4, 5)])
    finish(batcher)
    observed = meter.take(0, 0, 0.0)
    assert observed is not None
    assert observed.output_tokens == 5
    assert (len(observed.first_token), len(observed.inter_token)) == (1, 4)


def test_discard_frees_all_rows_and_counts_all_beams() -> None:
    batcher, _, _ = decoder(4)
    gone = call(1)
    batcher.add([search([1] * 5, 3, 9, gone)])
    for _ in range(3):
        step(batcher)
    assert batcher.discard(gone) == 5 + 2 * 3
    assert (batcher.running, batcher.cache_used) == (0, 0.0)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_a_search_that_leaves_between_two_branches_leaves_the_others_as_they_are(steps: int) -> None:
    """Its rows lie before theirs, which move; what comes next gets rows that have been others'."""
    batcher, _, _ = decoder(9)
    gone, beside, stays = search([3, 1], 4, 9, call(1)), generation([1, 2], 6), search([1, 2], 3, 6)
    batcher.add([gone, beside, stays])
    for _ in range(steps):
        step(batcher)
    batcher.discard(gone.call)
    assert (gone.rows, batcher.cache_used) == ([], 4 / 9 if steps else 0.0)
    assert sorted(beside.rows + stays.rows) == list(range(4 if steps else 0))
    late = search([4, 4, 4], 5, 3)
    batcher.add([late])
    finish(batcher)
    for sequence in (beside, stays, late):
        check(sequence, [])


def test_a_fork_that_fails_gives_all_rows_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop then discards the calls of the batch; who was not in it goes on, and who comes next finds all rows."""
    batcher, runner, _ = decoder(8, budget=4)
    broken, done = search([1, 2], 4, 9, call(1)), generation([1, 2], 2, call(2))
    batcher.add([broken, done])
    step(batcher)
    step(batcher)
    older, idle = generation([1] * 18, 1, call(3)), generation([2] * 10, 3, call(4))
    batcher.add([older, idle])
    batch = batcher.choose()
    assert batch == [broken, *([] if done.finish else [done]), older]
    outcomes = batcher.run(batch)
    forks: list[tuple[int, int]] = []

    def fork(source: int, target: int) -> None:
        forks.append((source, target))
        if len(forks) == 2:
            raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(runner, "fork", fork)
        batcher.settle(batch, outcomes)
    for sequence in batch:
        batcher.discard(sequence.call)
        assert sequence.rows == []
    assert (batcher.running, batcher.cache_used, idle.rows) == (1, 1 / 8, [0])
    wide = search([1, 2], 7, 4)
    batcher.add([wide])
    finish(batcher)
    for sequence in (idle, wide):
        check(sequence, [])


def test_waste_of_a_translation_counts_its_source_once() -> None:
    batcher, runner, _ = encoder_decoder(3)
    gone = call(1)
    batcher.add([translation([1] * 6, 9, gone, width=3, choice=AlphabetSearch(3, 9))])
    for _ in range(3):
        step(batcher)
    assert runner.inserts == [[0, 1, 2]]
    assert batcher.discard(gone) == 6 + 1 + 3


def test_the_limit_may_be_lowered_meanwhile() -> None:
    """As tasks.passage does where a part before this one has ended the whole text."""
    batcher, runner, _ = decoder(2)
    found = search([1, 2], 2, 9)
    batcher.add([found])
    step(batcher)
    forks = list(runner.forks)
    found.limit = 1
    step(batcher)
    assert (found.finish, batcher.running, runner.forks) == ("length", 0, forks)
