"""The decoder runner on a tiny graph, against numpy that recomputes whole sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.engine.runtime import tiny_artifacts, tiny_weights
from tests.unit.engine.runtime.conftest import Chunk
from tests.unit.engine.runtime.tiny_weights import VOCAB, Weights
from trine.artifact import Artifact, Family, Generation, Limits
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.errors import ArtifactCorrupt, Bug
from trine.sampling import Sampling

Array = NDArray[Any]
SLOTS, MAX_CHUNK = 6, 8
GREEDY = Choice(Sampling(), 0)


@pytest.fixture
def runner(artifact_of: Callable[..., Artifact]) -> DecoderRunner:
    return DecoderRunner(artifact_of(Family.DECODER), 1, SLOTS, MAX_CHUNK)


def random_tokens(seed: int, *lengths: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(2, VOCAB, length).tolist() for length in lengths]


class Feeder:
    """Feeds known sequences to a runner in chunks, and gathers the logits of each sequence's fed ends."""

    def __init__(self, runner: DecoderRunner, sequences: Sequence[Sequence[int]]) -> None:
        self.runner = runner
        self.sequences = sequences
        self.row = list(range(len(sequences)))
        self.past = [0] * len(sequences)
        self.ends: list[dict[int, Array]] = [{} for _ in sequences]

    def feed(self, counts: dict[int, int]) -> None:
        """counts: sequence to number of its next tokens."""
        chunks = []
        for index, count in counts.items():
            past = self.past[index]
            tokens = list(self.sequences[index][past : past + count])
            chunks.append(Chunk(self.row[index], tokens, past, GREEDY))
            self.past[index] += count
        for index, logits in zip(counts, self.runner.logits(chunks), strict=True):
            self.ends[index][self.past[index]] = logits

    def check(self, weights: Weights) -> None:
        for sequence, ends in zip(self.sequences, self.ends, strict=True):
            expected = tiny_weights.decoder_logits(weights, sequence)
            for end, logits in ends.items():
                np.testing.assert_allclose(logits, expected[end - 1], rtol=0, atol=2e-5)


STEPS: list[dict[int, int]] = [
    {0: 5, 1: 3, 2: 1},  # ragged prompts
    {0: 7, 1: 1, 2: 1},  # a chunk of a prompt beside decodes
    {1: 1, 3: 8},  # rows 0 and 2 idle, another joins
    {0: 1, 1: 1, 2: 6, 3: 2},
    {3: 1},  # all before it idle
    {0: 1, 1: 1, 2: 1, 3: 1},
    {2: 1, 0: 2},
]


def test_mixed_steps_equal_full_recomputation(runner: DecoderRunner, weights: Weights) -> None:
    feeder = Feeder(runner, random_tokens(0, 16, 8, 10, 12))
    for counts in STEPS:
        feeder.feed(counts)
    feeder.check(weights)


def test_a_sequence_in_company_equals_itself_alone_bit_for_bit(artifact_of: Callable[..., Artifact]) -> None:
    artifact = artifact_of(Family.DECODER)
    sequences = random_tokens(1, 16, 8, 10, 12)
    together = Feeder(DecoderRunner(artifact, 2, SLOTS, MAX_CHUNK), sequences)
    for counts in STEPS:
        together.feed(counts)
    for index, sequence in enumerate(sequences):
        alone = Feeder(DecoderRunner(artifact, 1, SLOTS, MAX_CHUNK), [sequence])
        for counts in STEPS:
            if index in counts:
                alone.feed({0: counts[index]})
        for end, logits in together.ends[index].items():
            np.testing.assert_array_equal(logits, alone.ends[0][end])


def test_how_a_prompt_is_cut_changes_no_bit(artifact_of: Callable[..., Artifact]) -> None:
    """As long as no piece is a single token, which attention computes by another kernel."""
    (sequence,) = random_tokens(2, 15)
    ends = []
    for cut in ([8, 7], [2, 8, 5], [3] * 5, [2] * 6 + [3]):
        feeder = Feeder(DecoderRunner(artifact_of(Family.DECODER), 1, SLOTS, MAX_CHUNK), [sequence])
        for count in cut:
            feeder.feed({0: count})
        ends.append(feeder.ends[0][15])
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])


def test_the_order_of_chunks_changes_nothing(artifact_of: Callable[..., Artifact]) -> None:
    sequences = random_tokens(3, 6, 2, 4)
    answers = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        runner = DecoderRunner(artifact_of(Family.DECODER), 1, SLOTS, MAX_CHUNK)
        logits = runner.logits([Chunk(row, sequences[row], 0, GREEDY) for row in order])
        answers.append({row: logits[place] for place, row in enumerate(order)})
    for answer in answers[1:]:
        for row in range(3):
            np.testing.assert_array_equal(answer[row], answers[0][row])


def test_which_row_a_sequence_has_changes_nothing(artifact_of: Callable[..., Artifact]) -> None:
    sequences = random_tokens(4, 6, 2, 4)
    first = Feeder(DecoderRunner(artifact_of(Family.DECODER), 1, SLOTS, MAX_CHUNK), sequences)
    second = Feeder(DecoderRunner(artifact_of(Family.DECODER), 1, SLOTS, MAX_CHUNK), sequences)
    second.row = [2, 0, 1]
    for feeder in (first, second):
        feeder.feed({0: 5, 1: 1, 2: 3})
        feeder.feed({0: 1, 1: 1, 2: 1})
    for a, b in zip(first.ends, second.ends, strict=True):
        np.testing.assert_array_equal(list(a.values()), list(b.values()))


def test_a_moved_row_goes_on_as_before(runner: DecoderRunner, weights: Weights) -> None:
    feeder = Feeder(runner, random_tokens(5, 12, 9, 12))
    feeder.feed({0: 4, 1: 8, 2: 8})
    feeder.feed({1: 1, 2: 1})
    runner.move(2, 0)  # sequence 0 has ended
    feeder.row[2] = 0
    feeder.feed({2: 1})
    feeder.sequences = [feeder.sequences[0][:4], feeder.sequences[1], feeder.sequences[2]]
    runner.move(0, 1)  # a moved row is moved again
    feeder.row[2] = 1
    feeder.feed({2: 2})
    feeder.check(weights)


def test_a_used_row_serves_the_next_sequence(runner: DecoderRunner, weights: Weights) -> None:
    for seed, length in ((6, 20), (7, 3), (8, 11)):
        feeder = Feeder(runner, random_tokens(seed, length))
        while feeder.past[0] < length:
            feeder.feed({0: min(MAX_CHUNK, length - feeder.past[0])})
        feeder.check(weights)


def test_sequences_end_exactly_at_the_context_beside_the_longest_chunk(
    runner: DecoderRunner, weights: Weights
) -> None:
    """The padded chunk must fit behind every row's past, also the row that is one short of the context, also an idle one."""
    context = tiny_artifacts.CONTEXT
    feeder = Feeder(runner, random_tokens(9, context, context, 2 * MAX_CHUNK))
    for _ in range(context // MAX_CHUNK - 1):
        feeder.feed({0: MAX_CHUNK, 1: MAX_CHUNK})
    feeder.feed({0: MAX_CHUNK - 1, 1: MAX_CHUNK})
    feeder.feed({0: 1, 2: MAX_CHUNK})
    feeder.feed({2: MAX_CHUNK})
    feeder.check(weights)


def test_prompts_without_a_choice_bring_no_tokens(runner: DecoderRunner, weights: Weights) -> None:
    (prompt, other) = random_tokens(10, 7, 4)
    assert runner.step([Chunk(0, prompt[:4], 0)]) == []
    assert runner.logits([Chunk(1, other, 0)]).shape == (0, VOCAB)
    (token,) = runner.step([Chunk(1, [3], 4), Chunk(0, prompt[4:], 4, GREEDY)])
    assert token == tiny_weights.decoder_logits(weights, prompt)[-1].argmax()


def test_steps_choose_greedily_and_by_seed(runner: DecoderRunner, weights: Weights) -> None:
    prompts = random_tokens(11, 5, 3)
    drawn = [Choice(Sampling(1.5, top_k=7), 42) for _ in range(2)]
    greedy, sampled = runner.step([Chunk(0, prompts[0], 0, GREEDY), Chunk(1, prompts[1], 0, drawn[0])])
    expected = [tiny_weights.decoder_logits(weights, prompt)[-1] for prompt in prompts]
    assert greedy == expected[0].argmax()
    assert sampled == drawn[1].draw(expected[1].astype(np.float32))


def test_suppressed_ids_are_not_chosen_but_their_logits_are_told(
    artifact_of: Callable[..., Artifact],
) -> None:
    best = int(tiny_logits_best(artifact_of(Family.DECODER)))
    artifact = artifact_of(Family.DECODER, generation=Generation(eos_ids=(0,), suppressed_ids=(best,)))
    runner = DecoderRunner(artifact, 1, SLOTS, MAX_CHUNK)
    (token,) = runner.step([Chunk(0, [5, 6], 0, GREEDY)])
    logits = runner.logits([Chunk(0, [5, 6], 0, GREEDY)])[0]
    assert logits.argmax() == best
    assert token == logits.argsort()[-2]


def tiny_logits_best(artifact: Artifact) -> int:
    return int(DecoderRunner(artifact, 1, SLOTS, MAX_CHUNK).step([Chunk(0, [5, 6], 0, GREEDY)])[0])


def test_told_logits_outlive_the_next_step(runner: DecoderRunner) -> None:
    logits = runner.logits([Chunk(0, [5, 6], 0, GREEDY)])
    before = logits.copy()
    runner.logits([Chunk(0, [9, 3, 4], 0, GREEDY)])
    np.testing.assert_array_equal(logits, before)


def test_a_position_beyond_the_graphs_table_is_a_bug_in_our_words(
    artifact_of: Callable[..., Artifact],
) -> None:
    artifact = artifact_of(Family.DECODER, limits=Limits(200))
    runner = DecoderRunner(artifact, 1, SLOTS, MAX_CHUNK)
    with pytest.raises(Bug, match=r"^the graph model\.onnx did not run$"):
        runner.step([Chunk(0, [3], tiny_weights.POSITIONS, GREEDY)])
    assert runner.step([Chunk(0, [3], 0, GREEDY)])


def test_an_artifact_without_cache_layout_is_corrupt(artifact_of: Callable[..., Artifact]) -> None:
    with pytest.raises(ArtifactCorrupt):
        DecoderRunner(artifact_of(Family.DECODER, cache=None), 1, SLOTS)


def test_there_is_no_source_to_insert(runner: DecoderRunner) -> None:
    with pytest.raises(Bug):
        runner.insert([(0, [1])])
