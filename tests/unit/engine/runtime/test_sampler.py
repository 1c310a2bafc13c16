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
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from trine.engine.runtime.beam import BeamChoice
from trine.engine.runtime.sampler import Choice, candidates, choices_of, choose
from trine.errors import Bug
from trine.sampling import BeamSearch, Sampling

Array = NDArray[Any]


def warped(logits: Array, sampling: Sampling) -> Array:
    """Probabilities [vocab] as transformers computes them, in float64."""
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(top_k=sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(top_p=sampling.top_p))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(min_p=sampling.min_p))
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


@pytest.mark.parametrize("temperature", [0.3, 2.5])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (7, 1.0), (0, 0.9), (50, 0.6)])
@pytest.mark.parametrize("min_p", [1e-6, 0.05, 0.5, 1.0])
def test_min_p_is_transformers(temperature: float, top_k: int, top_p: float, min_p: float) -> None:
    logits = np.random.default_rng(3).standard_normal(300).astype(np.float32) * 3
    sampling = Sampling(temperature, top_p, top_k, min_p=min_p)
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


CONTROLS = [
    Sampling(),
    Sampling(1.0),
    Sampling(repetition_penalty=1.5),
    Sampling(no_repeat_ngram_size=2, presence_penalty=0.5),
    Sampling(1.2, 0.9, min_p=0.02, frequency_penalty=0.7, no_repeat_ngram_size=3),
    Sampling(0.8, logit_bias={3: 2.0, 7: -100.0}, repetition_penalty=0.8),
]


def written(steps: Array, rows: Sequence[int], *, logprobs: bool = False) -> dict[int, list[int]]:
    """What the rows write together, over one context each; row i has the controls and the seed i."""
    contexts = {row: [row, 1, 2] for row in rows}
    choices = [
        Choice(
            CONTROLS[row],
            row,
            context=contexts[row],
            begin=3,
            end_ids=[0],
            min_new_tokens=4,
            logprobs=logprobs,
        )
        for row in rows
    ]
    for step in steps:
        for row, token in zip(rows, choose(step[list(rows)], choices), strict=True):
            contexts[row].append(token)
    return contexts


def test_controls_work_the_same_alone_and_in_any_company() -> None:
    steps = np.random.default_rng(9).standard_normal((12, len(CONTROLS), 12)).astype(np.float32)
    before = steps.copy()
    together = written(steps, range(len(CONTROLS)))
    for row in range(len(CONTROLS)):
        assert written(steps, [row])[row] == together[row]
        assert written(steps, [row], logprobs=True)[row] == together[row], "asking changes nothing"
    turned = list(reversed(range(len(CONTROLS))))
    assert written(steps, turned) == together
    np.testing.assert_array_equal(steps, before)
    assert all(0 not in context[3:7] for context in together.values()), "no end before its time"


def test_greedy_obeys_the_controls() -> None:
    logits = np.array([[0, 5, 4, 3]], np.float32)
    context = [1]
    choice = Choice(Sampling(no_repeat_ngram_size=1), 0, context=context, begin=1)
    for expected in (2, 3, 0):
        assert choose(logits, [choice]) == [expected]
        context.append(expected)
    assert choose(logits, [choice]) == [0], "nothing is left: the lowest id, and no error"


def test_plain_greedy_rows_are_never_worked_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(choice: Choice, logits: Array) -> int:
        raise AssertionError("a row of its own")

    monkeypatch.setattr(Choice, "draw", draw)
    context = [1, 2]
    plain = Choice(Sampling(), 0, context=context, begin=1, end_ids=[0])
    assert choose(np.eye(3, dtype=np.float32), [plain] * 3) == [0, 1, 2]


def test_logprobs_are_of_the_raw_distribution() -> None:
    logits = np.array([0, 2, 1], np.float32)
    sampling = Sampling(0.1, top_k=1, repetition_penalty=5.0, logit_bias={0: 100.0})
    choice = Choice(sampling, 0, context=[1], begin=1, logprobs=True)
    assert choice.logprobs is None
    assert choice.draw(logits) == 0
    raw = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)
    assert choice.logprobs is not None
    assert [choice.logprobs.of(token) for token in range(3)] == pytest.approx(raw.tolist())


def test_logprobs_are_computed_only_for_those_who_ask() -> None:
    choice = Choice(Sampling(1.0), 0)
    choice.draw(np.zeros(3, np.float32))
    assert choice.logprobs is None


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
        assert set(choose(logits.copy(), choices, [0, 2])) <= {1, 3}


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


def test_the_rows_of_a_search_have_one_outcome_among_the_tokens_of_others() -> None:
    greedy, drawn = Choice(Sampling(), 0), Choice(Sampling(1.0, top_k=1), 0)
    search = BeamChoice(BeamSearch(2), Sampling(), read=[1], limit=9, eos_ids=[0])
    first = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.6, 0.2, 0.1]], np.float32))
    assert choose(first.copy(), [greedy, search], [3]) == [2, [(0, 1), (0, 2)]]
    rows = np.log(
        np.array([[0.1, 0.7, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.8, 0.1], [0.1, 0.4, 0.3, 0.2]])
    ).astype(np.float32)
    assert choose(rows.copy(), [drawn, search, search, greedy], [3]) == [1, [(0, 2), (1, 2)], 1]
    alone = BeamChoice(BeamSearch(2), Sampling(), read=[1], limit=9, eos_ids=[0])
    choose(first[1:].copy(), [alone], [3])
    assert choose(rows[1:3].copy(), [alone, alone], [3]) == [[(0, 2), (1, 2)]]
