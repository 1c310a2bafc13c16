"""The encoder runner on a tiny graph, against numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.engine.runtime import tiny_weights
from tests.unit.engine.runtime.tiny_weights import VOCAB, Weights
from trine.artifact import Artifact, Family
from trine.engine.runtime.encoder import EncoderRunner

RANDOM = np.random.default_rng(0)
SEQUENCES = [RANDOM.integers(2, VOCAB, length).tolist() for length in (5, 1, 24, 2, 9)]


@pytest.fixture
def runner(artifact_of: Callable[..., Artifact]) -> EncoderRunner:
    return EncoderRunner(artifact_of(Family.ENCODER), 1)


def test_a_packed_batch_equals_numpy(runner: EncoderRunner, weights: Weights) -> None:
    expected = [tiny_weights.encoder_logits(weights, tokens) for tokens in SEQUENCES]
    logits = runner.run(SEQUENCES)
    assert all(row.dtype == np.float32 for row in logits)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5)


def test_batch_is_single_bit_for_bit_in_any_order(runner: EncoderRunner) -> None:
    together = runner.run(SEQUENCES)
    np.testing.assert_array_equal(runner.run(SEQUENCES[::-1])[::-1], together)
    for tokens, logits in zip(SEQUENCES, together, strict=True):
        np.testing.assert_array_equal(runner.run([tokens])[0], logits)


def test_positions_start_at_the_manifests_offset(
    artifact_of: Callable[..., Artifact], weights: Weights
) -> None:
    runner = EncoderRunner(artifact_of(Family.ENCODER, position_offset=2), 1)
    expected = [tiny_weights.encoder_logits(weights, tokens, offset=2) for tokens in SEQUENCES]
    np.testing.assert_allclose(runner.run(SEQUENCES), expected, rtol=0, atol=2e-5)
