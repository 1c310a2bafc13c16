"""The encoder-decoder runner on tiny graphs, against numpy that recomputes whole sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.engine.runtime import tiny_artifacts, tiny_weights
from tests.unit.engine.runtime.conftest import Chunk
from tests.unit.engine.runtime.tiny_weights import VOCAB, Weights
from trine.artifact import Artifact, Family, Generation
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.errors import ArtifactCorrupt, Bug
from trine.sampling import Sampling

Array = NDArray[Any]
SLOTS = 5
GREEDY = Choice(Sampling(), 0)
RANDOM = np.random.default_rng(0)
SOURCES = [RANDOM.integers(2, VOCAB, length).tolist() for length in (9, 4, tiny_artifacts.SOURCE, 1)]
TARGETS = [[1, *RANDOM.integers(2, VOCAB, tiny_artifacts.OUTPUT - 1).tolist()] for _ in SOURCES]


@pytest.fixture
def runner(artifact_of: Callable[..., Artifact]) -> Seq2SeqRunner:
    return Seq2SeqRunner(artifact_of(Family.ENCODER_DECODER), 1, SLOTS)


class Feeder:
    """Feeds the known targets token by token, and gathers their logits."""

    def __init__(self, runner: Seq2SeqRunner, rows: dict[int, int]) -> None:
        self.runner = runner
        self.rows = rows
        """Sequence to row."""
        self.logits: dict[int, list[Array]] = {index: [] for index in range(len(SOURCES))}

    def insert(self, *indices: int) -> None:
        self.runner.insert([(self.rows[index], SOURCES[index]) for index in indices])

    def feed(self, *indices: int) -> None:
        chunks = []
        for index in indices:
            past = len(self.logits[index])
            chunks.append(Chunk(self.rows[index], [TARGETS[index][past]], past, GREEDY))
        for index, logits in zip(indices, self.runner.logits(chunks), strict=True):
            self.logits[index].append(logits)

    def check(self, weights: Weights) -> None:
        for index, logits in self.logits.items():
            expected = tiny_weights.seq2seq_logits(weights, SOURCES[index], TARGETS[index])
            for got, wanted in zip(logits, expected, strict=False):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)


def straight(index: int) -> dict[int, int]:
    return {sequence: sequence + index for sequence in range(len(SOURCES))}


def test_sources_of_different_lengths_join_later(runner: Seq2SeqRunner, weights: Weights) -> None:
    feeder = Feeder(runner, straight(0))
    feeder.insert(0)
    feeder.feed(0)
    feeder.insert(1, 2)
    feeder.feed(0, 1, 2)
    feeder.feed(2)  # rows 0 and 1 idle
    feeder.feed(1, 0, 2)
    feeder.insert(3)
    feeder.feed(0, 1, 2, 3)
    feeder.feed(3, 0)
    feeder.check(weights)
    assert [len(feeder.logits[index]) for index in range(4)] == [5, 3, 4, 2]


def test_a_sequence_in_company_equals_itself_alone_bit_for_bit(artifact_of: Callable[..., Artifact]) -> None:
    artifact = artifact_of(Family.ENCODER_DECODER)
    together = Feeder(Seq2SeqRunner(artifact, 2, SLOTS), straight(0))
    together.insert(0, 1, 2, 3)
    for _ in range(3):
        together.feed(0, 1, 2, 3)
        together.feed(1, 3)
    for index in range(len(SOURCES)):
        alone = Feeder(Seq2SeqRunner(artifact, 1, SLOTS), {index: 0})
        alone.insert(index)
        for _ in together.logits[index]:
            alone.feed(index)
        np.testing.assert_array_equal(together.logits[index], alone.logits[index])


def test_the_order_of_rows_changes_nothing(artifact_of: Callable[..., Artifact]) -> None:
    artifact = artifact_of(Family.ENCODER_DECODER)
    answers = []
    for rows in (straight(0), {0: 3, 1: 0, 2: 1, 3: 2}):
        feeder = Feeder(Seq2SeqRunner(artifact, 1, SLOTS), rows)
        feeder.insert(*rows)
        for _ in range(3):
            feeder.feed(*sorted(rows, key=lambda index: rows[index]))
        answers.append(feeder.logits)
    for index in range(len(SOURCES)):
        np.testing.assert_array_equal(answers[0][index], answers[1][index])


def test_a_moved_row_goes_on_as_before(runner: Seq2SeqRunner, weights: Weights) -> None:
    feeder = Feeder(runner, straight(0))
    feeder.insert(0, 1, 2)
    for _ in range(3):
        feeder.feed(0, 1, 2)
    runner.move(2, 0)  # sequence 0 has ended; the source in row 2 is longer than the one in row 0
    feeder.rows = {2: 0, 1: 1, 3: 2}
    feeder.feed(2, 1)
    feeder.insert(3)
    runner.move(2, 1)  # just inserted, no token fed
    feeder.rows = {2: 0, 3: 1}
    feeder.feed(2, 3)
    feeder.check(weights)


def test_equal_sources_are_encoded_once(
    runner: Seq2SeqRunner, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    run = runner._encoder.run

    def spy(feeds: Any) -> Any:
        encoded.append(feeds["input_ids"].size)
        return run(feeds)

    monkeypatch.setattr(runner._encoder, "run", spy)
    runner.insert([(0, SOURCES[0]), (1, SOURCES[1]), (2, list(SOURCES[0])), (3, SOURCES[0])])
    assert encoded == [len(SOURCES[0]) + len(SOURCES[1])]
    logits = runner.logits([Chunk(row, [1], 0, GREEDY) for row in range(4)])
    for row, source in enumerate([SOURCES[0], SOURCES[1], SOURCES[0], SOURCES[0]]):
        expected = tiny_weights.seq2seq_logits(weights, source, [1])[0]
        np.testing.assert_allclose(logits[row], expected, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(logits[0], logits[2])


def test_a_forked_row_goes_on_with_another_token(runner: Seq2SeqRunner, weights: Weights) -> None:
    texts = [[1], [1], [1]]
    runner.insert([(row, SOURCES[0]) for row in range(3)])
    feed(runner, texts, [5, 6, 7])
    runner.fork(1, 0)
    runner.fork(1, 2)
    texts = [[1, 6], [1, 6], [1, 6]]
    logits = feed(runner, texts, [8, 9, 8])
    for row, text in enumerate(texts):
        expected = tiny_weights.seq2seq_logits(weights, SOURCES[0], text)[-1]
        np.testing.assert_allclose(logits[row], expected, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(logits[0], logits[2])


def feed(runner: Seq2SeqRunner, texts: list[list[int]], tokens: list[int]) -> Array:
    """The texts are in rows 0, 1, ..; all but their newest token is in the cache, or all of them are new."""
    if len(texts[0]) == 1:
        runner.logits([Chunk(row, text, 0, GREEDY) for row, text in enumerate(texts)])
    for text, token in zip(texts, tokens, strict=True):
        text.append(token)
    return runner.logits([Chunk(row, text[-1:], len(text) - 1, GREEDY) for row, text in enumerate(texts)])


def test_the_output_ends_exactly_at_the_context(runner: Seq2SeqRunner, weights: Weights) -> None:
    feeder = Feeder(runner, straight(0))
    feeder.insert(0, 2)
    for _ in range(tiny_artifacts.OUTPUT):
        feeder.feed(0, 2)
    feeder.check(weights)


def test_steps_choose_without_the_suppressed(artifact_of: Callable[..., Artifact], weights: Weights) -> None:
    expected = tiny_weights.seq2seq_logits(weights, SOURCES[0], [1])[0]
    second, best = expected.argsort()[-2:].tolist()
    generation = Generation(eos_ids=(0,), start_id=1, suppressed_ids=(best,))
    runner = Seq2SeqRunner(artifact_of(Family.ENCODER_DECODER, generation=generation), 1, SLOTS)
    runner.insert([(0, SOURCES[0])])
    assert runner.step([Chunk(0, [1], 0, GREEDY)]) == [second]


def test_only_one_token_a_row(runner: Seq2SeqRunner) -> None:
    runner.insert([(0, [5, 6])])
    with pytest.raises(Bug):
        runner.step([Chunk(0, [1, 2], 0, GREEDY)])


@pytest.mark.parametrize("length", [0, tiny_artifacts.SOURCE + 1])
def test_a_source_that_does_not_fit_is_a_bug(runner: Seq2SeqRunner, length: int) -> None:
    with pytest.raises(Bug):
        runner.insert([(0, [3] * length)])


@pytest.mark.parametrize("missing", ["cache", "cross"])
def test_an_artifact_without_cache_layout_is_corrupt(
    artifact_of: Callable[..., Artifact], missing: str
) -> None:
    with pytest.raises(ArtifactCorrupt):
        Seq2SeqRunner(artifact_of(Family.ENCODER_DECODER, **{missing: None}), 1, SLOTS)
