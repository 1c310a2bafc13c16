"""Beam search over gRPC finds what transformers finds, on text that neither training nor gate has seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.integration.server import CHECKPOINTS
from tests.integration.test_held_out import NEW_TOKENS, TIE, lines
from trine.artifact import Generation, open_artifact
from trine.client import Client, Hypothesis
from trine.errors import InvalidInput
from trine.export import checkpoint
from trine.export.checkpoint import Checkpoint
from trine.export.plan import inspect

# Without sacremoses MarianTokenizer leaves punctuation as it is, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

BEAMS = 4
SENTENCES = [
    "I am looking for a good restaurant. Where is the station?",
    "Thanks!",
    "I'd like to rent a car.",
]
Found = list[tuple[str, float]]
"""Text and score, best first."""


class TransformersSearch:
    def __init__(self, folder: str, generation: Generation) -> None:
        torch.set_num_threads(1)  # a second thread costs such small matrices more than it gives
        path = CHECKPOINTS / folder
        self._checkpoint: Checkpoint = checkpoint.load(path, inspect(path, None))
        self._two_sided = generation.start_id is not None
        config = GenerationConfig(
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=list(generation.eos_ids) or None,
            pad_token_id=generation.eos_ids[0] if generation.eos_ids else 0,
            decoder_start_token_id=generation.start_id,
            forced_bos_token_id=generation.forced_first_id,
            bad_words_ids=[[token] for token in generation.suppressed_ids] or None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        self._checkpoint.model.generation_config = self._config = config

    def __call__(self, text: str) -> Found:
        model, tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.inference_mode():
            answer = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=self._config)
        read = 1 if self._two_sided else ids.shape[1]
        texts = [
            tokenizer.decode(tokens[read:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for tokens in answer.sequences.tolist()
        ]
        return list(zip(texts, answer.sequences_scores.tolist(), strict=True))


def is_tie(ours: Sequence[Hypothesis], theirs: Found) -> bool:
    """Whether the first text that is not theirs has, by their own scores, as good as the same one as theirs."""
    scores = {text.strip(): score for text, score in theirs}
    for hypothesis, (text, score) in zip(ours, theirs, strict=True):
        if hypothesis.text.strip() != text.strip():
            other = scores.get(hypothesis.text.strip())
            return other is not None and abs(other - score) < TIE * abs(score)
    return False


def check(client: Client, name: str, generation: Generation, texts: list[str]) -> None:
    search, ties = TransformersSearch(name, generation), 0
    options: dict[str, Any] = {"beams": BEAMS, "n_best": BEAMS, "max_new_tokens": NEW_TOKENS}
    for begin in range(0, len(texts), 50):
        batch = texts[begin : begin + 50]
        found: list[tuple[str, Sequence[Hypothesis]]]
        if name == "en-fr":
            translations = client.translate(name, batch, split="none", **options)
            found = [(result.text, result.segments[0].hypotheses) for result in translations]
        else:
            found = [(result.text, result.hypotheses) for result in client.generate(name, batch, **options)]
        for text, (best, ours) in zip(batch, found, strict=True):
            theirs = search(text)
            assert best.strip() == ours[0].text.strip()
            if [one.text.strip() for one in ours] == [other.strip() for other, _ in theirs]:
                assert [one.score for one in ours] == pytest.approx([score for _, score in theirs], rel=1e-4)
            else:
                assert is_tie(ours, theirs), text
                ties += 1
    assert ties <= max(1, len(texts) // 1000)


@pytest.fixture(scope="module")
def settings(repository: Path) -> dict[str, Generation]:
    """What each checkpoint's artifact says of its tokens."""
    found = {}
    for name in ("en-fr", "verse"):
        generation = open_artifact(repository / name / "1" / "artifact").manifest.generation
        assert generation is not None
        found[name] = generation
    return found


def test_a_few_held_out_texts(client: Client, settings: dict[str, Generation]) -> None:
    check(client, "en-fr", settings["en-fr"], lines("en-fr-held-out.jsonl", 10))
    check(client, "verse", settings["verse"], lines("verse-held-out.jsonl", 1))


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_500_held_out_sentences_and_20_held_out_prompts(
    client: Client, settings: dict[str, Generation]
) -> None:
    check(client, "en-fr", settings["en-fr"], lines("en-fr-held-out.jsonl", 500))
    check(client, "verse", settings["verse"], lines("verse-held-out.jsonl", 20))


def test_a_stream_tells_each_segment_once_and_joins_to_the_unary_answer(client: Client) -> None:
    options: dict[str, Any] = {"beams": 3, "n_best": 2, "max_new_tokens": 32}
    parts: list[list[Any]] = [[] for _ in SENTENCES]
    for delta in client.stream_translate("en-fr", SENTENCES, **options):
        parts[delta.input_index].append(delta)
    for deltas, result in zip(parts, client.translate("en-fr", SENTENCES, **options), strict=True):
        assert "".join(delta.text for delta in deltas) == result.text
        assert tuple(segment for delta in deltas for segment in delta.segments) == result.segments
        assert all(len(segment.hypotheses) == 2 for segment in result.segments)
        assert len(deltas) <= len(result.segments)


def test_a_search_is_the_same_alone_and_beside_others(client: Client) -> None:
    options: dict[str, Any] = {"beams": 4, "n_best": 4, "max_new_tokens": 32, "repetition_penalty": 1.2}
    together = client.translate("en-fr", SENTENCES, **options)
    assert together == [client.translate("en-fr", text, **options) for text in SENTENCES]


def test_what_cannot_be_searched_is_refused(client: Client) -> None:
    for options, field in (
        ({"beams": 17}, "beam_search.beams"),
        ({"beams": 2, "n_best": 3}, "beam_search.n_best"),
        ({"beams": 2, "temperature": 0.5}, "sampling.temperature"),
        ({"beams": 2, "stop": ["a"]}, "stop"),
        ({"beams": 2, "logprobs": 1}, "logprobs"),
    ):
        with pytest.raises(InvalidInput) as caught:
            client.generate("verse", "ROMEO:", **options)
        assert caught.value.field == field
