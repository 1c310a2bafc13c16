"""Pooling against what sentence-transformers computes with a mask of ones."""

from __future__ import annotations

import numpy as np
import pytest

from trine.artifact import Pooling
from trine.engine.runtime.pooling import normalized, pool

HIDDEN = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Pooling.MEAN, HIDDEN.astype(np.float64).mean(0)),
        (Pooling.CLS, HIDDEN[0]),
        (Pooling.MAX, HIDDEN.max(0)),
        (Pooling.LAST, HIDDEN[6]),
    ],
)
def test_pooling(pooling: Pooling, expected: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    pooled = pool(HIDDEN, pooling)
    assert pooled.dtype == np.float64
    np.testing.assert_allclose(pooled, expected, rtol=1e-12)


def test_a_slice_of_a_batch_is_pooled_as_the_text_alone() -> None:
    batch = np.concatenate([HIDDEN[::-1], HIDDEN, HIDDEN])
    for pooling in Pooling:
        np.testing.assert_array_equal(pool(batch[7:14], pooling), pool(HIDDEN.copy(), pooling))


def test_normalized() -> None:
    assert normalized(np.array([3.0, 4.0])).tolist() == [0.6, 0.8]
    assert normalized(np.zeros(2)).tolist() == [0.0, 0.0]
