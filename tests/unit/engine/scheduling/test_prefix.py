"""Which beginnings of prompts are kept and reused, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import TOKEN_BYTES, AlphabetRunner, Clock, alone, call, generation
from trine.engine.scheduling.continuous import DecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.policy import next_chunk
from trine.engine.scheduling.prefix import PrefixIndex
from trine.engine.scheduling.sequence import Sequence

SIZE = 4
PROMPTS = st.lists(st.lists(st.integers(0, 1), max_size=14), max_size=30)
BLOCK = SIZE * TOKEN_BYTES
HEAD = [3, 1, 4, 1, 5, 9, 2, 6]
"""Two blocks."""


def chunks(index: PrefixIndex, prompt: list[int], stored: dict[int, list[int]]) -> Iterator[None]:
    """What a batcher does with a prompt, one chunk after the other. `stored` has the whole beginning that each number stands for."""
    found = index.find(prompt)
    for place, number in enumerate(found):
        assert stored[number] == prompt[: (place + 1) * index.size]
    begin = len(found) * index.size
    while begin < len(prompt):
        yield
        chunk = next_chunk(len(prompt) - begin, index.size)
        if chunk == index.size and (block := index.keep(prompt, begin)) is not None:
            stored[block] = prompt[: begin + chunk]
        begin += chunk


def run_through(index: PrefixIndex, prompt: list[int]) -> None:
    """A prompt that runs alone."""
    begin = len(index.find(prompt)) * index.size
    while begin < len(prompt):
        chunk = next_chunk(len(prompt) - begin, index.size)
        if chunk == index.size:
            index.keep(prompt, begin)
        begin += chunk


@given(PROMPTS, st.integers(0, 7), st.integers(3, 5))
def test_never_a_wrong_block_and_never_too_many(prompts: list[list[int]], most: int, size: int) -> None:
    """Three prompts run side by side, so that one's blocks are given up while it runs."""
    index = PrefixIndex(size, 10, most * 10 + 9)
    stored: dict[int, list[int]] = {}
    for begin in range(0, len(prompts), 3):
        for _ in zip_longest(*(chunks(index, prompt, stored) for prompt in prompts[begin : begin + 3])):
            assert len(index) == len(stored)
            assert stored.keys() <= set(range(most))
            assert index.bytes_used == 10 * len(stored) <= most * 10
    for number, beginning in stored.items():
        found = index.find([*beginning, 0, 0])
        assert found[-1] == number, "a block that no prompt can reach would be lost memory"


@given(st.integers(1, 60), st.integers(3, 9))
def test_what_is_reused_leads_to_the_same_cuts(length: int, size: int) -> None:
    prompt = list(range(length))
    index = PrefixIndex(size, 1, 100)
    run_through(index, [*prompt, *range(2 * size)])
    begin = len(index.find(prompt)) * size
    cuts, at = [0], 0
    while at < length:
        at += next_chunk(length - at, size)
        cuts.append(at)
    assert begin in cuts
    assert length - begin >= min(length, 2), "the last token has to run, and never alone"
    assert begin > length - 2 - size, "as much as that allows"


def test_the_least_recently_used_leaf_is_given_up_first() -> None:
    index = PrefixIndex(3, 1, 3)
    two, one = [1, 1, 1, 2, 2, 2, 0, 0], [3, 3, 3, 0, 0]
    run_through(index, two)
    run_through(index, one)
    assert len(index.find(two)) == 2
    run_through(index, [4, 4, 4, 0, 0])
    assert (len(index.find(one)), len(index.find(two))) == (0, 2)
    run_through(index, [5, 5, 5, 0, 0])
    run_through(index, [6, 6, 6, 0, 0])
    assert len(index.find(two)) == 1, "the follower went first, its predecessor is still there"


def test_a_prompt_never_pushes_out_its_own_beginning() -> None:
    index = PrefixIndex(3, 1, 2)
    run_through(index, [1] * 14)
    assert len(index.find([1] * 14)) == 2


def test_a_block_whose_predecessor_was_given_up_is_not_kept() -> None:
    index = PrefixIndex(3, 1, 2)
    assert [index.keep(prompt, 0) for prompt in ([1, 1, 1], [3, 3, 3], [4, 4, 4])] == [0, 1, 0]
    assert index.keep([1, 1, 1, 2, 2, 2], 3) is None


# --- in the batcher --------------------------------------------------------------------------------------------------


class Engine:
    """A batcher over the stand-in runner."""

    def __init__(self, blocks: int = 10, slots: int = 4) -> None:
        self.runner = AlphabetRunner(slots, SIZE)
        self.meter = Meter(Clock())
        self.batcher: DecoderBatcher[Sequence] = DecoderBatcher(self.runner, 64, self.meter, blocks * BLOCK)

    def finish(self, *sequences: Sequence) -> None:
        """Each writes what it would write without any of this."""
        self.batcher.add(sequences)
        while self.batcher.waiting or self.batcher.running:
            self.step()
        for sequence in sequences:
            written = sequence.context[sequence.begin :]
            assert (written, sequence.finish) == alone(sequence.tokens, sequence.limit)

    def step(self) -> None:
        batch = self.batcher.choose()
        self.batcher.settle(batch, self.batcher.run(batch))


def test_a_known_beginning_is_not_run_again() -> None:
    engine = Engine()
    first, second = generation([*HEAD, 7, 7], 3), generation([*HEAD, 8, 8, 8], 3)
    engine.finish(first)
    assert engine.runner.steps[:3] == [[(0, 4)], [(0, 4)], [(0, 2)]]
    engine.runner.steps.clear()
    engine.finish(second)
    assert engine.runner.steps[0] == [(0, 3)]
    assert (first.cached, second.cached) == (0, 8)


def test_other_tokens_before_make_another_block() -> None:
    engine = Engine()
    engine.finish(generation([*HEAD, 7, 7], 1))
    other = generation([3, 1, 4, 2, 5, 9, 2, 6, 7, 7], 4)
    engine.finish(other)
    assert other.cached == 0


@pytest.mark.parametrize(("length", "cached"), [(8, 4), (9, 4), (10, 8)])
def test_two_tokens_are_left_to_run(length: int, cached: int) -> None:
    engine = Engine()
    engine.finish(generation([*HEAD, 7, 7], 1))
    again = generation([*HEAD, 7, 7][:length], 2)
    engine.finish(again)
    assert again.cached == cached


def test_company_shuffled_rows_and_eviction_change_nothing() -> None:
    engine = Engine(blocks=3)
    prompts = [[*HEAD[: 4 * (number % 3)], *([number % 5] * (2 + number % 9))] for number in range(60)]
    sequences = [generation(prompt, 1 + number % 6) for number, prompt in enumerate(prompts)]
    engine.finish(*sequences)
    assert engine.runner.moves
    assert any(sequence.cached for sequence in sequences)
    assert set(engine.runner.blocks) == {0, 1, 2}


def test_it_can_be_switched_off() -> None:
    engine = Engine(blocks=0)
    for _ in range(2):
        sequence = generation([*HEAD, 7, 7], 1)
        engine.finish(sequence)
        assert sequence.cached == 0
    assert engine.runner.blocks == {}
    observed = engine.meter.take(0, 0, 0.0)
    assert observed is not None
    assert (observed.prefix_lookup_tokens, observed.prefix_hit_tokens, observed.prefix_bytes) == (0, 0, 0)


def test_it_is_measured() -> None:
    engine = Engine()
    engine.finish(generation([*HEAD, 7, 7], 1))
    observed = engine.meter.take(0, 0, 0.0)
    assert observed is not None
    assert (observed.prefix_lookup_tokens, observed.prefix_hit_tokens) == (10, 0)
    assert observed.prefix_bytes == 2 * BLOCK
    engine.finish(generation([*HEAD, 8, 8, 8], 1))
    observed = engine.meter.take(0, 0, 0.0)
    assert observed is not None
    assert (observed.prefix_lookup_tokens, observed.prefix_hit_tokens) == (11, 8)
    assert observed.prefix_bytes == 2 * BLOCK, "it lasts"


def test_what_was_reused_is_no_waste() -> None:
    engine = Engine()
    engine.finish(generation([*HEAD, 7, 7], 1))
    gone = call(2)
    engine.batcher.add([generation([*HEAD, 8, 8, 8], 5, gone)])
    engine.step()
    assert engine.batcher.discard(gone) == 3


def test_a_step_without_prompts_looks_nothing_up() -> None:
    engine = Engine()
    engine.batcher.add([generation([2, 1], 5)])
    engine.step()
    engine.meter.forget()
    engine.step()
    observed = engine.meter.take(0, 1, 0.0)
    assert observed is not None
    assert observed.prefix_lookup_tokens == 0
