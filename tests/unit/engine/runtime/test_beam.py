"""Beam search against transformers', on logits that are random but fixed for each text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from trine.engine.runtime.beam import BeamChoice, _Beam, top
from trine.sampling import BeamSearch, EarlyStopping, Sampling

VOCAB = 40
EOS, STOP, SUPPRESSED = 0, 7, 39
PROMPT = (3, 4, 5, 4)
EARLY_STOPPING: Mapping[EarlyStopping, bool | str] = {"first": True, "heuristic": False, "never": "never"}


def logits_after(text: Sequence[int], seed: int = 0, end: float = 2.0) -> NDArray[np.float32]:
    """float32 [VOCAB]; `end` makes the end token likelier."""
    row = np.random.default_rng([seed, *text]).standard_normal(VOCAB).astype(np.float32) * 2
    row[EOS] += end
    return row


class Oracle(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A checkpoint of transformers' whose logits are those of `logits_after`."""

    config_class = PreTrainedConfig

    def __init__(self, seed: int, end: float) -> None:
        super().__init__(PreTrainedConfig(vocab_size=VOCAB, is_encoder_decoder=False))
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self._answer = seed, end

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> dict[str, Any]:
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> CausalLMOutput:
        rows = [logits_after(text, *self._answer) for text in input_ids.tolist()]
        return CausalLMOutput(logits=torch.from_numpy(np.stack(rows))[:, None])


def transformers_search(
    search: BeamSearch, seed: int, end: float, read: Sequence[int] = PROMPT, **settings: Any
) -> list[tuple[list[int], float]]:
    """The n best: written tokens without padding, and scores."""
    config = GenerationConfig(
        num_beams=search.beams,
        length_penalty=search.length_penalty,
        early_stopping=EARLY_STOPPING[search.early_stopping],
        num_return_sequences=search.n_best,
        do_sample=False,
        use_cache=False,
        pad_token_id=VOCAB,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    prompt = torch.tensor([read])
    answer = Oracle(seed, end).generate(
        prompt, attention_mask=torch.ones_like(prompt), generation_config=config
    )
    texts = answer.sequences[:, len(read) :].tolist()
    return [
        ([token for token in text if token != VOCAB], score)
        for text, score in zip(texts, answer.sequences_scores.tolist(), strict=True)
    ]


def our_search(
    choice: BeamChoice, seed: int, end: float, suppressed: Sequence[int] = (), read: Sequence[int] = PROMPT
) -> BeamChoice:
    beams = [list(read)]
    while beams:
        assert choice.beams == len(beams)
        rows = np.stack([logits_after(text, seed, end) for text in beams])
        beams = [[*beams[parent], token] for parent, token in choice.advance(rows, suppressed)]
    return choice


def check(expected: list[tuple[list[int], float]], choice: BeamChoice, n_best: int) -> None:
    found = choice.hypotheses[:n_best]
    assert [hypothesis.tokens for hypothesis in found] == [tokens for tokens, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [score for _, score in expected], rtol=2e-6)


@pytest.mark.parametrize("early_stopping", list(EARLY_STOPPING))
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.5, -1.0])
def test_equals_transformers(early_stopping: EarlyStopping, length_penalty: float) -> None:
    cases = itertools.product(range(2), (2, 4, 7), (1.0, 3.0))
    for seed, beams, end in cases:
        search = BeamSearch(beams, length_penalty, early_stopping, n_best=beams)
        expected = transformers_search(search, seed, end, eos_token_id=EOS, max_new_tokens=12)
        choice = BeamChoice(search, Sampling(), read=PROMPT, limit=12, eos_ids=[EOS])
        check(expected, our_search(choice, seed, end), beams)


@pytest.mark.parametrize("ends", [(), (EOS, STOP), (EOS, STOP, 8, 9, 10)])
@pytest.mark.parametrize("n_best", [1, 3])
def test_none_or_several_end_tokens(ends: tuple[int, ...], n_best: int) -> None:
    search = BeamSearch(4, n_best=n_best)
    expected = transformers_search(search, 1, 0.0, eos_token_id=list(ends) or None, max_new_tokens=9)
    choice = BeamChoice(search, Sampling(), read=PROMPT, limit=9, eos_ids=ends[:1], stop_ids=ends[1:])
    check(expected, our_search(choice, 1, 0.0), n_best)


TOWARDS_THE_PROMPT = {3: 6.0, 4: 7.0, 5: 6.5, 8: 6.0}
"""Biases with which a text repeats what was read, and itself."""
BIAS = [[[token], bias] for token, bias in TOWARDS_THE_PROMPT.items()]

CONTROLS: list[tuple[str, Sampling, dict[str, Any], dict[str, Any]]] = [
    ("repetition", Sampling(repetition_penalty=1.7), {}, {"repetition_penalty": 1.7}),
    ("n-grams", Sampling(no_repeat_ngram_size=1), {}, {"no_repeat_ngram_size": 1}),
    *[
        (
            f"{size}-grams that come again",
            Sampling(repetition_penalty=0.9, no_repeat_ngram_size=size, logit_bias=TOWARDS_THE_PROMPT),
            {},
            {"repetition_penalty": 0.9, "no_repeat_ngram_size": size, "sequence_bias": BIAS},
        )
        for size in (2, 3)
    ],
    ("bias", Sampling(logit_bias={5: 3.0, 6: -4.0}), {}, {"sequence_bias": [[[5], 3.0], [[6], -4.0]]}),
    ("least", Sampling(), {"min_new_tokens": 5}, {"min_new_tokens": 5}),
    ("last", Sampling(), {"forced": {7: EOS}}, {"forced_eos_token_id": EOS}),
]


@pytest.mark.parametrize(
    ("sampling", "ours", "theirs"), [case[1:] for case in CONTROLS], ids=[case[0] for case in CONTROLS]
)
def test_processors(sampling: Sampling, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    search = BeamSearch(3, n_best=3)
    for seed in range(4):
        expected = transformers_search(
            search, seed, 2.0, eos_token_id=EOS, max_new_tokens=8, bad_words_ids=[[SUPPRESSED]], **theirs
        )
        choice = BeamChoice(search, sampling, read=PROMPT, limit=8, eos_ids=[EOS], **ours)
        check(expected, our_search(choice, seed, 2.0, [SUPPRESSED]), 3)


def test_a_forced_first_token() -> None:
    """Transformers forces it after a single token only, as an encoder-decoder's start token is."""
    search = BeamSearch(3, n_best=3)
    for seed in range(4):
        expected = transformers_search(
            search, seed, 2.0, [3], eos_token_id=EOS, max_new_tokens=8, forced_bos_token_id=11
        )
        choice = BeamChoice(search, Sampling(), read=[3], limit=8, eos_ids=[EOS], forced={0: 11})
        check(expected, our_search(choice, seed, 2.0, read=[3]), 3)
        assert all(one.tokens[0] == 11 for one in choice.hypotheses)


def test_why_each_text_ends() -> None:
    """Three tokens, of which two end a text, and two places."""
    rows = np.log(np.array([[0.2, 0.5, 0.3]], np.float32))
    search = BeamSearch(2, length_penalty=0.0)
    choice = BeamChoice(search, Sampling(), read=[1], limit=2, eos_ids=[0], stop_ids=[2])
    assert choice.advance(rows.copy(), []) == [(0, 1)]
    assert [(one.tokens, one.finish) for one in choice.hypotheses] == [([2], "stop_sequence")]
    assert choice.advance(np.repeat(rows, 1, 0), []) == []
    assert [(one.tokens, one.finish) for one in choice.hypotheses] == [
        ([2], "stop_sequence"),
        ([1, 1], "length"),
    ]
    assert choice.hypotheses[0].score == pytest.approx(np.log(0.3))
    assert choice.hypotheses[1].score == pytest.approx(np.log(0.25))


def test_an_end_token_in_a_forced_last_place_is_no_stop() -> None:
    choice = BeamChoice(BeamSearch(2), Sampling(), read=[1], limit=1, eos_ids=[0], forced={0: 0})
    assert choice.advance(np.zeros((1, 5), np.float32), []) == []
    assert [(one.tokens, one.score, one.finish) for one in choice.hypotheses] == [([0], 0.0, "length")]


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_end_the_search_without_a_text(nonsense: float) -> None:
    choice = BeamChoice(BeamSearch(2), Sampling(), read=[1], limit=5, eos_ids=[0])
    assert choice.advance(np.full((1, 200), nonsense, np.float32), [3]) == []
    assert choice.hypotheses == []


NO_TOKEN_TWICE = Sampling(no_repeat_ngram_size=1)


def numbers(seed: int, beams: int) -> NDArray[np.float32]:
    """Logits float32 [beams, 6]."""
    return np.random.default_rng(seed).standard_normal((beams, 6)).astype(np.float32)


@pytest.mark.parametrize("ends", [[], [0]])
def test_texts_to_which_nothing_can_be_added_are_finished(ends: list[int]) -> None:
    """Six tokens, one of them read, none twice: five to write. Texts that ended before stand beside those."""
    choice = BeamChoice(BeamSearch(2), NO_TOKEN_TWICE, read=[1], limit=20, eos_ids=ends, min_new_tokens=4)
    steps = 0
    while choice.advance(numbers(steps, choice.beams), []):
        steps += 1
    assert steps == (4 if ends else 5)
    assert [one.finish for one in choice.hypotheses] == ["stop" if ends else "length"] * 2
    for one in choice.hypotheses:
        assert sorted(one.tokens) == [0, 2, 3, 4, 5]
    assert choice.hypotheses[0].score >= choice.hypotheses[1].score


def test_the_beams_that_go_nowhere_compete_with_the_texts_that_ended() -> None:
    """Nothing but 0 (the end), 2 and 3; the end is unlikely at first and impossible then."""
    first = np.array([[math.log(0.1), -math.inf, math.log(0.5), math.log(0.4)]], np.float32)
    choice = BeamChoice(BeamSearch(3, 0.0), NO_TOKEN_TWICE, read=[1], limit=9, eos_ids=[0])
    assert choice.advance(first, []) == [(0, 2), (0, 3)]
    then = np.full((2, 4), -np.inf, np.float32)
    then[0, 2] = then[1, 3] = 1.0
    assert choice.advance(then, []) == []
    assert [(one.tokens, one.finish) for one in choice.hypotheses] == [
        ([2], "length"),
        ([3], "length"),
        ([0], "stop"),
    ]
    assert [one.score for one in choice.hypotheses] == pytest.approx(np.log([0.5, 0.4, 0.1]).tolist())


@pytest.mark.parametrize("penalty", [1.0, 0.0, -1.0])
def test_a_text_without_a_token_where_nothing_can_be_chosen_at_all(penalty: float) -> None:
    choice = BeamChoice(BeamSearch(2, penalty), NO_TOKEN_TWICE, read=range(6), limit=5)
    assert choice.advance(numbers(0, 1), []) == []
    assert [(one.tokens, one.score, one.finish) for one in choice.hypotheses] == [([], 0.0, "length")]


def test_a_beam_whose_logits_are_no_numbers_is_no_text() -> None:
    choice = BeamChoice(BeamSearch(2), NO_TOKEN_TWICE, read=[1], limit=5)
    (_, best), (_, second) = choice.advance(numbers(0, 1), [])
    rows = np.full((2, 6), -np.inf, np.float32)
    rows[0] = np.nan
    rows[1, second] = 0.0
    assert choice.advance(rows, []) == []
    assert [one.tokens for one in choice.hypotheses] == [[second]] != [[best]]


def test_extreme_length_penalties_overflow_in_silence() -> None:
    for penalty in (10.0, -10.0):
        choice = BeamChoice(BeamSearch(2, penalty), Sampling(), read=[1], limit=5, eos_ids=[0])
        choice._beams = [_Beam([1] * 20_000, -5.0)]
        assert choice.advance(np.zeros((1, 100), np.float32), []) == []
        assert {one.score for one in choice.hypotheses} <= {0.0, -np.inf}


@pytest.mark.parametrize("size", [1, 31, 32, 100, 1000, 4099])
@pytest.mark.parametrize("count", [1, 5, 24])
def test_top(size: int, count: int) -> None:
    random = np.random.default_rng(size)
    for scores in (random.standard_normal(size), random.integers(0, 9, size), np.zeros(size)):
        row = scores.astype(np.float32)
        row[::7] = -np.inf
        expected = sorted(range(size), key=lambda place: -row[place])[:count]
        assert top(row, count).tolist() == expected
