"""The sampler against transformers' warpers, its draws against the distribution, and its independence of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.generation.logits_process import (
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from trine.engine.runtime.sampler import Choice, candidates, choices_of, choose
from trine.engine.runtime.step import suppress
from trine.errors import Bug
from trine.sampling import Sampling

Array = NDArray[Any]


def warped(logits: Array, sampling: Sampling) -> Array:
    """Probabilities [vocab] as transformers computes them, in float64."""
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(top_k=sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(top_p=sampling.top_p))
    scores = torch.tensor(logits, dtype=torch.float64)[None]
    for warper in warpers:
        scores = warper(torch.zeros(1, 1, dtype=torch.long), scores)
    return np.asarray(scores.softmax(-1)[0])


def ours(logits: Array, sampling: Sampling) -> Array:
    ids, weights = candidates(logits, sampling)
    probabilities = np.zeros(len(logits))
    probabilities[ids] = weights / weights.sum()
    return probabilities


@pytest.mark.parametrize("vocab", [7, 300, 5000])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [0, 1, 5, 299, 100_000])
@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.9, 0.9999, 1.0])
def test_the_distribution_is_transformers(vocab: int, temperature: float, top_k: int, top_p: float) -> None:
    logits = np.random.default_rng(vocab).standard_normal(vocab).astype(np.float32) * 3
    sampling = Sampling(temperature, top_p, top_k)
    np.testing.assert_allclose(ours(logits, sampling), warped(logits, sampling), atol=1e-12)


@pytest.mark.parametrize("top_k", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("top_p", [0.2, 0.55, 0.8, 1.0])
def test_ties_fall_as_in_transformers(top_k: int, top_p: float) -> None:
    logits = np.array([1, 3, 3, 1, 3, 0, 1], np.float32)
    sampling = Sampling(1.0, top_p, top_k)
    np.testing.assert_allclose(ours(logits, sampling), warped(logits, sampling), atol=1e-12)


def test_equal_logits_keep_their_share_of_the_mass() -> None:
    ids, _ = candidates(np.zeros(4000, np.float32), Sampling(1.0, top_p=0.75))
    assert len(ids) == 3000


def test_a_flat_head_beyond_the_first_guess_is_found() -> None:
    """More tokens than the sampler sorts at first are needed for the mass."""
    logits = np.random.default_rng(0).standard_normal(20_000).astype(np.float32) * 0.1
    sampling = Sampling(1.0, top_p=0.9)
    np.testing.assert_allclose(ours(logits, sampling), warped(logits, sampling), atol=1e-15)
    assert 10_000 < (ours(logits, sampling) > 0).sum() < 20_000


def test_greedy_takes_the_lowest_of_the_best() -> None:
    logits = np.array([[0, 2, 2, 1], [5, 1, 1, 5], [-1, -3, -1, -2]], np.float32)
    assert choose(logits, [Choice(Sampling(), 0)] * 3) == [1, 0, 0]
    assert choose(np.empty((0, 4), np.float32), []) == []


def test_draws_follow_the_distribution() -> None:
    logits = np.array([2, 1, 0, -1, -30], np.float32)
    sampling = Sampling(0.8, top_p=0.97)
    choice = Choice(sampling, 11)
    draws = np.bincount([choice.draw(logits) for _ in range(20_000)], minlength=5) / 20_000
    np.testing.assert_allclose(draws, warped(logits, sampling), atol=0.015)
    assert draws[4] == 0


@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=6),
    kinds=st.lists(
        st.sampled_from([(0.0, 1.0, 0), (1.0, 1.0, 0), (0.7, 0.8, 0), (1.3, 1.0, 4), (0.9, 0.5, 9)]),
        min_size=6,
    ),
)
def test_a_seed_draws_the_same_alone_and_in_any_batch(
    seeds: list[int], kinds: list[tuple[float, float, int]]
) -> None:
    steps = np.random.default_rng(seeds[0]).standard_normal((5, len(seeds), 60)).astype(np.float32)
    parameters = [Sampling(*kind) for kind in kinds[: len(seeds)]]
    alone = [[Choice(sampling, seed)] for sampling, seed in zip(parameters, seeds, strict=True)]
    expected = [[choose(step[row : row + 1], alone[row])[0] for row in range(len(seeds))] for step in steps]
    batch = [Choice(sampling, seed) for sampling, seed in zip(parameters, seeds, strict=True)]
    assert [choose(step, batch) for step in steps] == expected
    order = list(reversed(range(len(seeds))))
    turned = [Choice(parameters[row], seeds[row]) for row in order]
    assert [choose(step[order], turned)[::-1] for step in steps] == expected


def test_seeds_matter_and_repeat() -> None:
    logits = np.zeros(1000, np.float32)

    def draws(seed: int) -> list[int]:
        choice = Choice(Sampling(1.0), seed)
        return [choice.draw(logits) for _ in range(8)]

    assert draws(1) == draws(1) != draws(2)
    assert draws(2**64 + 1) == draws(1)


def test_suppressed_ids_are_never_chosen() -> None:
    logits = np.tile(np.array([9, 1, 8, 0], np.float32), (4, 1))
    choices = [
        Choice(Sampling(), 0),
        Choice(Sampling(1.0), 1),
        Choice(Sampling(1.0, top_k=3), 2),
        Choice(Sampling(1.0, 0.5), 3),
    ]
    for _ in range(200):
        assert set(choose(suppress(logits.copy(), [0, 2]), choices)) <= {1, 3}


@pytest.mark.parametrize("row", [[np.nan, 1, 2], [-np.inf] * 3, [np.inf, 1, np.inf]])
def test_a_broken_row_does_not_fail_its_batch(row: Sequence[float]) -> None:
    logits = np.array([row, [0, 0, 9]], np.float32)
    tokens = choose(logits, [Choice(Sampling(1.0, 0.5, 2), 0), Choice(Sampling(1.0, 0.5), 0)])
    assert tokens == [0, 2]


def test_the_last_draw_never_lands_on_a_token_without_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(Sampling(1.0), 0)

    class Edge:
        def random(self) -> float:
            return 1.0

    monkeypatch.setattr(choice, "_random", Edge())
    assert choice.draw(np.array([0, 0, -np.inf, -np.inf], np.float32)) == 1


def test_a_foreign_choice_is_a_bug() -> None:
    class Foreign:
        choice = object()

    with pytest.raises(Bug):
        choose(np.zeros((1, 3), np.float32), choices_of([Foreign()]))
