"""Sequences that join and leave between steps, on paper."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engine.scheduling.stand_ins import (
    AlphabetRunner,
    AlphabetSeq2Seq,
    Clock,
    alone,
    call,
    generation,
    translation,
)
from trine.engine.scheduling.continuous import ContinuousBatcher, DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.sequence import Sequence


def decoder(
    slots: int, budget: int = 64, max_chunk: int = 8
) -> tuple[DecoderBatcher[Sequence], AlphabetRunner]:
    runner = AlphabetRunner(slots, max_chunk)
    return DecoderBatcher(runner, budget, Meter(Clock())), runner


def encoder_decoder(slots: int, budget: int = 64) -> tuple[EncoderDecoderBatcher[Sequence], AlphabetSeq2Seq]:
    runner = AlphabetSeq2Seq(slots)
    return EncoderDecoderBatcher(runner, budget, Meter(Clock())), runner


def step(batcher: ContinuousBatcher[Any]) -> list[Any]:
    batch = batcher.choose()
    return batcher.settle(batch, batcher.run(batch)) if batch else []


def finish(batcher: ContinuousBatcher[Any]) -> None:
    for _ in range(10_000):
        if not (batcher.waiting or batcher.running):
            return
        step(batcher)
    raise AssertionError("it never ends")


def written(sequence: Sequence) -> list[int]:
    return sequence.context[sequence.begin :]


def test_on_paper() -> None:
    batcher, _ = decoder(2)
    first, second = generation([1, 2], 5), generation([13], 5)
    batcher.add([first, second])
    finish(batcher)
    assert (written(first), first.finish) == ([3, 6, 12, 24, 22], "length")
    assert (written(second), second.finish) == ([13, 0], "stop")


def test_a_batch_writes_what_each_writes_alone() -> None:
    prompts = [[n, n + 1, 2 * n] * (1 + n % 5) for n in range(1, 30)]
    batcher, runner = decoder(4, budget=16)
    sequences = [generation(prompt, 3 + n % 7) for n, prompt in enumerate(prompts)]
    batcher.add(sequences)
    finish(batcher)
    for sequence in sequences:
        assert (written(sequence), sequence.finish) == alone(sequence.tokens, sequence.limit)
    assert runner.moves, "rows were compacted on the way"


def test_order_of_arrival_changes_nothing() -> None:
    prompts = [[n] * n for n in range(1, 20)]
    outcomes = []
    for order in (prompts, prompts[::-1]):
        batcher, _ = decoder(3)
        sequences = {len(prompt): generation(prompt, 6) for prompt in order}
        for sequence in sequences.values():
            batcher.add([sequence])
            step(batcher)
        finish(batcher)
        outcomes.append({length: written(sequence) for length, sequence in sequences.items()})
    assert outcomes[0] == outcomes[1]


def test_decodes_run_beside_the_chunks_of_a_prompt() -> None:
    batcher, runner = decoder(2, budget=32)
    running, long = generation([1, 2], 5), generation([1] * 19, 1)
    batcher.add([running])
    step(batcher)
    batcher.add([long])
    for _ in range(3):
        step(batcher)
    assert runner.steps == [[(0, 2)], [(0, 1), (1, 8)], [(0, 1), (1, 8)], [(0, 1), (1, 3)]]
    assert written(running) == [3, 6, 12, 24], "no step was missed"
    assert written(long) == [19]


def test_no_chunk_of_one_token_is_left_over() -> None:
    batcher, runner = decoder(1)
    batcher.add([generation([1] * 17, 1)])
    finish(batcher)
    assert runner.steps == [[(0, 8)], [(0, 7)], [(0, 2)]]


def test_a_long_prompt_goes_on_in_order_of_admission_although_rows_are_shuffled() -> None:
    """The first row's leaving puts the youngest sequence into row 0; the older prompt still goes first."""
    batcher, runner = decoder(3, budget=16)
    short, older, younger = generation([1, 2], 1), generation([2] * 24, 1), generation([3] * 24, 1)
    batcher.add([short, older, younger])
    step(batcher)
    assert (younger.row, older.row) == (0, 1)
    batcher._budget = 8
    step(batcher)
    assert runner.steps[-1] == [(1, 8)]


def test_waits_for_a_free_row_and_takes_it_at_once() -> None:
    batcher, _ = decoder(1)
    first, second = generation([1, 2], 2), generation([1, 2], 1)
    batcher.add([first, second])
    step(batcher)
    assert (batcher.running, batcher.waiting) == (1, 1)
    assert batcher.cache_used == 1.0
    step(batcher)
    assert (batcher.running, batcher.waiting) == (0, 1)
    step(batcher)
    assert second.finish == "length"


def test_discard_frees_the_rows_and_counts_what_was_computed_in_vain() -> None:
    batcher, _ = decoder(2)
    gone, stays = call(1, inputs=2), call(2)
    batcher.add([generation([1] * 5, 9, gone), generation([1] * 5, 9, gone, index=1)])
    other = generation([1, 2], 4, stays)
    batcher.add([other])
    step(batcher)
    step(batcher)
    assert batcher.discard(gone) == 12
    assert (batcher.running, batcher.waiting) == (0, 1)
    assert batcher.discard(gone) == 0
    finish(batcher)
    assert written(other) == [3, 6, 12, 24]


def test_discard_of_waiting_sequences_costs_nothing() -> None:
    batcher, runner = decoder(1)
    gone = call(1)
    batcher.add([generation([1], 1, gone)])
    assert batcher.discard(gone) == 0
    assert step(batcher) == []
    assert runner.steps == []


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_sources_are_encoded_first_then_one_token_a_row(limit: int) -> None:
    batcher, runner = encoder_decoder(2)
    first, second = translation([2, 3], limit), translation([4], limit)
    batcher.add([first, second])
    finish(batcher)
    assert runner.inserts == [[0, 1]]
    assert all(tokens == 1 for chunks in runner.steps for _, tokens in chunks)
    assert written(first) == alone([2, 3, 1], limit)[0]
    assert written(second) == alone([4, 1], limit)[0]


def test_encoding_is_bounded_by_the_budget_and_never_stalls_running_texts() -> None:
    batcher, runner = encoder_decoder(4, budget=8)
    batcher.add([translation([1] * 8, 9) for _ in range(3)])
    events = []
    for _ in range(6):
        inserts, steps = len(runner.inserts), len(runner.steps)
        step(batcher)
        events += ["encode"] * (len(runner.inserts) - inserts) + ["write"] * (len(runner.steps) - steps)
    assert events == ["encode", "write", "encode", "write", "encode", "write"]
    assert [len(chunks) for chunks in runner.steps] == [1, 2, 3]


def test_translations_in_a_batch_are_those_written_alone() -> None:
    batcher, runner = encoder_decoder(3, budget=16)
    sequences = [translation([n] * (1 + n % 6), 2 + n % 5) for n in range(1, 30)]
    for sequence in sequences:
        batcher.add([sequence])
        step(batcher)
    finish(batcher)
    for sequence in sequences:
        assert (written(sequence), sequence.finish) == alone([*sequence.tokens, 1], sequence.limit)
    assert runner.moves


def test_waste_of_a_translation_includes_its_source() -> None:
    batcher, _ = encoder_decoder(1)
    gone = call(1)
    batcher.add([translation([1] * 6, 9, gone)])
    for _ in range(3):
        step(batcher)
    assert batcher.discard(gone) == 8
    assert batcher.running == 0
