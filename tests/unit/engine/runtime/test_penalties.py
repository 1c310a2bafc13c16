"""The processors against transformers' own, followed token by token; the penalties of OpenAI's interface by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from trine.engine.runtime.penalties import Penalties
from trine.sampling import Sampling

VOCAB = 8
END_IDS = [2, 5]
TOKENS = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=12)


def logits(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(VOCAB).astype(np.float32) * 4


def processed(
    scores: NDArray[np.float32], context: Sequence[int], begin: int, least: int, of: Sampling
) -> Any:
    """As transformers' generate would: its processors in its order."""
    processors = LogitsProcessorList()
    if of.logit_bias:
        processors.append(
            SequenceBiasLogitsProcessor([[[token], bias] for token, bias in of.logit_bias.items()])
        )
    if of.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(of.repetition_penalty))
    if of.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(of.no_repeat_ngram_size))
    if least:
        processors.append(MinNewTokensLengthLogitsProcessor(begin, least, END_IDS))
    return processors(torch.tensor([list(context)]), torch.tensor(scores)[None])[0].numpy()


@given(
    context=TOKENS,
    written=st.integers(0, 12),
    penalty=st.sampled_from([1.0, 1.3, 0.7]),
    size=st.integers(0, 4),
    bias=st.dictionaries(st.integers(0, VOCAB - 1), st.sampled_from([-3.5, 0.25, 90.0]), max_size=3),
    least=st.integers(0, 5),
)
@settings(max_examples=400, deadline=None)
def test_each_step_is_transformers(
    context: list[int], written: int, penalty: float, size: int, bias: dict[int, float], least: int
) -> None:
    sampling = Sampling(repetition_penalty=penalty, no_repeat_ngram_size=size, logit_bias=bias)
    begin = max(1, len(context) - written)
    growing = context[:begin]
    penalties = Penalties(sampling, growing, begin, END_IDS, least)
    for place in range(begin, len(context) + 1):
        scores = logits(place)
        expected = processed(scores, growing, begin, least, sampling)
        np.testing.assert_array_equal(penalties.apply(scores), expected)
        growing += context[place : place + 1]


def test_many_random_steps_over_a_real_vocabulary() -> None:
    chance = np.random.default_rng(5)
    sampling = Sampling(repetition_penalty=1.2, no_repeat_ngram_size=3)
    context = chance.integers(0, 30, 20).tolist()
    penalties = Penalties(sampling, context, 20)
    for _ in range(60):
        scores = chance.standard_normal(5000).astype(np.float32)
        expected = processed(scores, context, 20, 0, sampling)
        np.testing.assert_array_equal(penalties.apply(scores), expected)
        context.append(int(chance.integers(0, 30)))


FEW = st.lists(st.integers(0, 2), max_size=12)
"""So few different tokens that n-grams come again."""


@given(
    read=FEW,
    beams=st.lists(FEW, min_size=1, max_size=6),
    penalty=st.sampled_from([1.0, 1.3]),
    size=st.integers(0, 4),
    frequency=st.sampled_from([0.0, 0.4]),
    presence=st.sampled_from([0.0, -0.3]),
    least=st.integers(0, 5),
)
@settings(max_examples=400, deadline=None)
def test_beams_that_share_what_was_read_get_what_each_gets_alone(
    read: list[int],
    beams: list[list[int]],
    penalty: float,
    size: int,
    frequency: float,
    presence: float,
    least: int,
) -> None:
    sampling = Sampling(
        repetition_penalty=penalty,
        no_repeat_ngram_size=size,
        frequency_penalty=frequency,
        presence_penalty=presence,
        logit_bias={1: 0.5},
    )
    shared = Penalties(sampling, read, len(read), END_IDS, least)
    for place, beam in enumerate(beams):
        alone = Penalties(sampling, [*read, *beam], len(read), END_IDS, least)
        scores = logits(place)
        np.testing.assert_array_equal(shared.apply(scores, beam), alone.apply(scores))


class Watched(Sequence[int]):
    """Counts the tokens that it hands out."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self.read = 0

    def __len__(self) -> int:
        return len(self._tokens)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        found = self._tokens[index]
        self.read += 1 if isinstance(found, int) else len(found)
        return found


def test_what_was_read_is_followed_once_for_all_beams() -> None:
    prompt = Watched([place % VOCAB for place in range(1000)])
    sampling = Sampling(repetition_penalty=1.2, no_repeat_ngram_size=3, frequency_penalty=0.2)
    penalties = Penalties(sampling, prompt, len(prompt))
    penalties.apply(logits(0))
    prompt.read = 0
    for step in range(50):
        penalties.apply(logits(step), [step % VOCAB] * step)
    assert prompt.read <= 50 * 2, "no more than what an n-gram may span"


def test_presence_and_frequency_count_written_tokens_only() -> None:
    context = [1, 1, 2, 3, 3, 3, 4]
    penalties = Penalties(Sampling(presence_penalty=0.5, frequency_penalty=0.25), context, 2)
    change = penalties.apply(np.zeros(6, np.float32))
    assert change.tolist() == [0, 0, -0.75, -1.25, -0.75, 0]
    context.append(1)
    assert penalties.apply(np.zeros(6, np.float32)).tolist() == [0, -0.75, -0.75, -1.25, -0.75, 0]


def test_negative_penalties_reward() -> None:
    penalties = Penalties(Sampling(presence_penalty=-1.0, frequency_penalty=-0.5), [7, 1, 1], 1)
    assert penalties.apply(np.zeros(3, np.float32)).tolist() == [0, 2, 0]


def test_the_given_logits_stay_as_they_are() -> None:
    scores = logits(1)
    before = scores.copy()
    Penalties(Sampling(repetition_penalty=2.0, logit_bias={0: 5.0}), [1, 2], 1, [3], 9).apply(scores)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize(
    ("sampling", "end_ids", "least", "active"),
    [
        (Sampling(), [2], 0, False),
        (Sampling(0.7, 0.9, 5, min_p=0.1), [2], 0, False),
        (Sampling(), [], 3, False),
        (Sampling(), [2], 3, True),
        (Sampling(repetition_penalty=1.1), [], 0, True),
        (Sampling(presence_penalty=-0.1), [], 0, True),
        (Sampling(frequency_penalty=0.1), [], 0, True),
        (Sampling(no_repeat_ngram_size=1), [], 0, True),
        (Sampling(logit_bias={3: 0.5}), [], 0, True),
    ],
)
def test_it_knows_whether_there_is_anything_to_do(
    sampling: Sampling, end_ids: list[int], least: int, active: bool
) -> None:
    assert Penalties(sampling, [1], 1, end_ids, least).active is active
