"""What a sequence computes after a reused beginning has the same bits as without one, over the real runner and a tiny graph.

A beam search, whose rows are copied and moved besides, finds exactly what it finds alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence as Many
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import POSITIONS, VOCAB, Weights
from tests.unit.engine.scheduling.stand_ins import Clock, generation
from trine.artifact import Artifact, Family, Limits
from trine.engine.runtime.beam import BeamChoice
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.scheduling.continuous import DecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.sequence import Sequence
from trine.sampling import BeamSearch, Sampling

LIMIT = 5
SLOTS = 4
LONGEST = POSITIONS - 24


class Recorder(DecoderRunner):
    """Keeps all logits, by the state of the sequence that they are for."""

    def __init__(self, artifact: Artifact, max_chunk: int) -> None:
        super().__init__(artifact, 1, SLOTS, max_chunk)
        self.logits_of: dict[object, bytes] = {}

    def _run(self, chunks: Many[Any]) -> NDArray[np.float32]:
        logits = super()._run(chunks)
        for choice, row in zip((chunk.choice for chunk in chunks if chunk.choice), logits, strict=True):
            self.logits_of[choice] = self.logits_of.get(choice, b"") + row.tobytes()
        return logits


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return tiny_artifacts.write(folder, Family.DECODER, Weights(), limits=Limits(LONGEST + LIMIT))


def made(prompt: list[int]) -> Sequence:
    sequence = generation(prompt, LIMIT, eos_ids=frozenset())
    sequence.choice = Choice(
        Sampling(), 0, context=sequence.context, begin=len(prompt), end_ids=[], min_new_tokens=0
    )
    return sequence


def engine(artifact: Artifact, size: int, blocks: int) -> tuple[Recorder, DecoderBatcher[Sequence]]:
    runner = Recorder(artifact, size)
    limit = blocks * runner.block_bytes(size)
    return runner, DecoderBatcher(runner, 64, Meter(Clock()), limit)


def finish(batcher: DecoderBatcher[Sequence]) -> None:
    while batcher.waiting or batcher.running:
        batch = batcher.choose()
        batcher.settle(batch, batcher.run(batch))


def prompts_with_common_beginnings() -> list[list[int]]:
    """Every length, over three beginnings, then all again in another order."""
    draw = random.Random(3)
    heads = [[draw.randrange(VOCAB) for _ in range(LONGEST)] for _ in range(3)]
    prompts = [[*heads[length % 3][: length - 1], length % VOCAB] for length in range(1, LONGEST + 1)]
    return [*prompts, *draw.sample(prompts, len(prompts))]


@pytest.mark.parametrize("size", [5, 8, 17])
@pytest.mark.parametrize("blocks", [100, 3])
def test_cached_equals_uncached_bit_for_bit(artifact: Artifact, size: int, blocks: int) -> None:
    """The chunk of 17 has one query alone in its kernel's block; with three blocks all is evicted all the time."""
    plain_runner, plain = engine(artifact, size, 0)
    runner, batcher = engine(artifact, size, blocks)
    reused = 0
    for number, prompt in enumerate(prompts_with_common_beginnings()):
        alone, cached = made(prompt), made(prompt)
        plain.add([alone])
        finish(plain)
        company = [made([number % VOCAB] * 3)] if number % 2 else []
        batcher.add([*company, cached])
        finish(batcher)
        assert runner.logits_of[cached.choice] == plain_runner.logits_of[alone.choice]
        assert cached.context == alone.context
        reused += cached.cached
    assert reused > 10 * size


def test_all_together_and_trickling(artifact: Artifact) -> None:
    plain_runner, plain = engine(artifact, 5, 0)
    runner, batcher = engine(artifact, 5, 6)
    alone = [made(prompt) for prompt in prompts_with_common_beginnings()]
    for sequence in alone:
        plain.add([sequence])
        finish(plain)
    cached = [made(sequence.tokens) for sequence in alone]
    batcher.add(cached[::2])
    for sequence in cached[1::2]:
        batcher.add([sequence])
        batch = batcher.choose()
        batcher.settle(batch, batcher.run(batch))
    finish(batcher)
    for one, other in zip(cached, alone, strict=True):
        assert runner.logits_of[one.choice] == plain_runner.logits_of[other.choice]
    assert sum(sequence.cached for sequence in cached) > 50


# --- beam search -----------------------------------------------------------------------------------------------------


class Mover(DecoderRunner):
    """Keeps what rows are moved, but not what is copied for a beam."""

    moved: set[int]

    def move(self, source: int, target: int) -> None:
        self.moved.add(source)
        super().move(source, target)

    def fork(self, source: int, target: int) -> None:
        super().move(source, target)


def search(prompt: list[int], beams: int, sampling: Sampling) -> Sequence:
    ends = frozenset({7, 11})
    sequence = generation(prompt, 4 + LIMIT, eos_ids=ends, width=beams)
    sequence.choice = BeamChoice(
        BeamSearch(beams), sampling, read=prompt, limit=sequence.limit, eos_ids=ends, min_new_tokens=3
    )
    return sequence


def searches() -> list[Sequence]:
    """Of two to four beams, with and without processors; each beginning several times, in an order of its own."""
    draw = random.Random(8)
    heads = [[draw.randrange(VOCAB) for _ in range(26)] for _ in range(3)]
    prompts = [[*heads[number % 3][:length], 1] for number, length in enumerate(range(8, 26))]
    samplings = [Sampling(), Sampling(repetition_penalty=1.3, no_repeat_ngram_size=2, frequency_penalty=0.2)]
    kinds = [(prompt, beams, sampling) for prompt in prompts for beams in (2, 4) for sampling in samplings]
    return [search(*kind) for kind in draw.sample(kinds, len(kinds))]


def hypotheses(sequence: Sequence) -> list[Any]:
    assert isinstance(sequence.choice, BeamChoice)
    return sequence.choice.hypotheses


def test_a_search_finds_what_it_finds_alone_from_a_reused_beginning_and_in_rows_that_move(
    artifact: Artifact,
) -> None:
    alone, company = searches(), searches()
    _, plain = engine(artifact, 5, 0)
    for sequence in alone:
        plain.add([sequence])
        finish(plain)
    runner = Mover(artifact, 1, 11, 5)
    batcher = DecoderBatcher[Sequence](runner, 64, Meter(Clock()), 9 * runner.block_bytes(5))
    moved = set[Sequence]()
    for number, sequence in enumerate(company):
        short = made([number % VOCAB] * 3)
        short.limit = 1 + number % LIMIT
        batcher.add([short, sequence])
    while batcher.waiting or batcher.running:
        batch = batcher.choose()
        runner.moved, outcomes = set(), batcher.run(batch)
        before = {sequence: set(sequence.rows) for sequence in company if sequence.rows}
        batcher.settle(batch, outcomes)
        moved |= {one for one in before if one.rows and before[one] & runner.moved}
    for together, one in zip(company, alone, strict=True):
        assert hypotheses(together) == hypotheses(one) != []
    assert sum(sequence.cached > 0 and sequence in moved for sequence in company) > 10
