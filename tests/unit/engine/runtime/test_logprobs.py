"""Log-probabilities against PyTorch's log_softmax, and the order of the best."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trine.engine.runtime.logprobs import Logprobs


@pytest.mark.parametrize("vocab", [3, 500, 50_000])
def test_they_are_log_softmax(vocab: int) -> None:
    logits = np.random.default_rng(vocab).standard_normal(vocab).astype(np.float32) * 5
    expected = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)
    found = Logprobs(logits)
    assert [found.of(token) for token in range(3)] == pytest.approx(expected[:3].tolist(), abs=1e-12)
    values, ids = expected.topk(min(20, vocab))
    best = found.best(20)
    assert [token for token, _ in best] == ids.tolist()
    assert [logprob for _, logprob in best] == pytest.approx(values.tolist(), abs=1e-12)


def test_equals_come_by_their_ids() -> None:
    found = Logprobs(np.array([1, 2, 2, 0, 2, 1], np.float32))
    assert [token for token, _ in found.best(2)] == [1, 2]
    assert [token for token, _ in found.best(5)] == [1, 2, 4, 0, 5]
    assert found.best(0) == []


def test_suppressed_tokens_are_no_alternatives() -> None:
    found = Logprobs(np.array([0, -np.inf, 0], np.float32))
    assert found.best(3) == [(0, -math.log(2)), (2, -math.log(2))]
    assert found.of(1) == -math.inf


def test_a_copy_is_kept() -> None:
    logits = np.zeros(4, np.float32)
    found = Logprobs(logits)
    logits[:] = [9, 0, 0, 0]
    assert found.of(0) == pytest.approx(-math.log(4))


@pytest.mark.parametrize("row", [[np.nan, 1.0], [-np.inf, -np.inf], [np.inf, 0.0]])
def test_a_broken_row_has_none(row: list[float]) -> None:
    assert math.isnan(Logprobs(np.array(row, np.float32)).of(0))
