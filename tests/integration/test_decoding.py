"""Sampling controls, stops and log-probabilities over gRPC, on the demo checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from trine.client import Client
from trine.errors import InvalidInput

PROMPTS = ["ROMEO:", "First Citizen:\nBefore we proceed", "Good night"]
SENTENCES = ["I am looking for a good restaurant.", "Where is the station?", "Thanks!"]
CONTROLS: dict[str, Any] = {
    "min_new_tokens": 4,
    "max_new_tokens": 24,
    "temperature": 0.9,
    "min_p": 0.02,
    "repetition_penalty": 1.2,
    "presence_penalty": 0.3,
    "frequency_penalty": 0.2,
    "no_repeat_ngram_size": 3,
    "logit_bias": {5: -2.0},
    "logprobs": 2,
}


def test_a_seeded_request_with_every_control_is_the_same_alone_and_in_a_batch(client: Client) -> None:
    for call, name, texts in ((client.generate, "verse", PROMPTS), (client.translate, "en-fr", SENTENCES)):
        together = call(name, texts, seed=11, **CONTROLS)
        assert together == [call(name, text, seed=11 + i, **CONTROLS) for i, text in enumerate(texts)]
        assert all(result.usage.output_tokens >= 4 for result in together)
        assert all(len(result.logprobs) == result.usage.output_tokens for result in together)


def test_a_stop_string_cuts_the_text_where_it_begins(client: Client) -> None:
    (free,) = client.generate("verse", PROMPTS[:1], max_new_tokens=60)
    stop = free.text[20:27]
    stopped = client.generate("verse", PROMPTS[0], max_new_tokens=60, stop=["never in it", stop])
    assert stopped.text == free.text[: free.text.find(stop)]
    assert (stopped.finish_reason, stopped.matched_stop) == ("stop_sequence", stop)
    assert stopped.usage.output_tokens < free.usage.output_tokens


def test_streams_with_stops_equal_the_unary_answer(client: Client) -> None:
    options: dict[str, Any] = {"max_new_tokens": 60, "stop": ["\n\n", "ou", "e."], "logprobs": 1}
    calls: list[tuple[Any, Any, str, list[str]]] = [
        (client.stream_generate, client.generate, "verse", PROMPTS),
        (client.stream_translate, client.translate, "en-fr", SENTENCES),
    ]
    for stream, unary, name, texts in calls:
        parts: list[list[Any]] = [[] for _ in texts]
        for delta in stream(name, texts, **options):
            parts[delta.input_index].append(delta)
        for deltas, result in zip(parts, unary(name, texts, **options), strict=True):
            assert "".join(delta.text for delta in deltas) == result.text
            assert tuple(entry for delta in deltas for entry in delta.logprobs) == result.logprobs
            assert deltas[-1].finish_reason == result.finish_reason
            assert deltas[-1].matched_stop == result.matched_stop
            assert not any(stop in result.text for stop in options["stop"])


def test_a_text_of_any_length_is_translated_sentence_by_sentence(client: Client) -> None:
    """Beyond the context: as its sentences alone, with the whitespace that was between them; streamed, the same in order."""
    text = "  " + "\n\n".join(" ".join(SENTENCES) for _ in range(20)) + "\n"
    alone = [result.text for result in client.translate("en-fr", SENTENCES)]
    result = client.translate("en-fr", text)
    assert result.text == "  " + "\n\n".join(" ".join(alone) for _ in range(20)) + "\n"
    assert [text[one.source_begin : one.source_end] for one in result.segments] == SENTENCES * 20
    assert [result.text[one.target_begin : one.target_end] for one in result.segments] == alone * 20
    deltas = list(client.stream_translate("en-fr", text))
    assert "".join(delta.text for delta in deltas) == result.text
    assert tuple(segment for delta in deltas for segment in delta.segments) == result.segments
    assert (deltas[-1].usage, deltas[-1].finish_reason) == (result.usage, result.finish_reason)
    with pytest.raises(InvalidInput) as caught:
        client.translate("en-fr", text, split="none")
    assert caught.value.field == "inputs[0].text"


def test_a_stop_token_ends_a_text(client: Client) -> None:
    free = client.generate("verse", "ROMEO:", max_new_tokens=12, logprobs=0)
    token = free.logprobs[5].token_id
    stopped = client.generate("verse", "ROMEO:", max_new_tokens=12, stop_token_ids=[token], logprobs=0)
    assert (stopped.finish_reason, stopped.matched_stop) == ("stop_sequence", token)
    assert stopped.logprobs[-1].token_id == token
    assert free.text.startswith(stopped.text)


def test_log_probabilities_tell_the_text(client: Client) -> None:
    """Greedy: the best alternative is the written token."""
    result = client.generate("verse", "ROMEO:", max_new_tokens=16, logprobs=3)
    assert "".join(entry.text for entry in result.logprobs) == result.text
    for entry in result.logprobs:
        assert entry.alternatives[0].token_id == entry.token_id
        assert entry.alternatives[0].logprob == entry.logprob <= 0
        assert len(entry.alternatives) == 3


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"logit_bias": {10**6: 1.0}}, "sampling.logit_bias"),
        ({"stop_token_ids": [10**6]}, "stop_token_ids"),
        ({"stop": [""]}, "stop[0]"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"repetition_penalty": float("nan")}, "sampling.repetition_penalty"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: Client, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.generate("verse", "ROMEO:", **options)
    assert caught.value.field == field
