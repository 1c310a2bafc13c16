"""Beam search over gRPC, on the demo checkpoints."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from trine.client import Client
from trine.errors import InvalidInput

SENTENCES = ["I am looking for a good restaurant.", "Where is the station?", "She sings."]
PROMPTS = ["ROMEO:", "Good night"]
BEAMS: dict[str, Any] = {"beams": 4, "n_best": 3, "max_new_tokens": 24}


def test_the_best_text_comes_first(client: Client) -> None:
    for result in client.translate("en-fr", SENTENCES, **BEAMS):
        (segment,) = result.segments
        scores = [one.score for one in segment.hypotheses]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert result.text == segment.hypotheses[0].text
        assert result.usage.output_tokens == segment.hypotheses[0].output_tokens
        assert len({one.text for one in segment.hypotheses}) > 1
    for written in client.generate("verse", PROMPTS, **BEAMS):
        assert written.text == written.hypotheses[0].text


def test_a_beam_search_is_the_same_alone_and_in_company(client: Client) -> None:
    alone = [client.translate("en-fr", text, **BEAMS) for text in SENTENCES]
    stop = threading.Event()

    def company() -> None:
        while not stop.is_set():
            client.translate(
                "en-fr", ["It is raining.", "We have lived here for ten years."], temperature=0.8
            )

    threads = [threading.Thread(target=company) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert client.translate("en-fr", SENTENCES, **BEAMS) == alone
        assert [client.translate("en-fr", text, **BEAMS) for text in SENTENCES] == alone
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_stream_tells_a_segment_when_its_search_has_ended(client: Client) -> None:
    text = " ".join(SENTENCES)
    (whole,) = client.translate("en-fr", [text], **BEAMS)
    deltas = list(client.stream_translate("en-fr", text, **BEAMS))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert tuple(segment for delta in deltas for segment in delta.segments) == whole.segments
    assert len(whole.segments) == 3
    assert deltas[-1].usage == whole.usage


def test_a_stream_of_a_generation_tells_its_hypotheses_at_the_end(client: Client) -> None:
    whole = client.generate("verse", PROMPTS[0], **BEAMS)
    deltas = list(client.stream_generate("verse", PROMPTS[0], **BEAMS))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert deltas[-1].hypotheses == whole.hypotheses
    assert deltas[-1].finish_reason == whole.finish_reason


def test_what_does_not_go_together_is_refused(client: Client) -> None:
    for option, field in (
        ({"temperature": 0.5}, "sampling.temperature"),
        ({"stop": "x"}, "stop"),
        ({"logprobs": 1}, "logprobs"),
        ({"n_best": 5}, "beam_search.n_best"),
    ):
        with pytest.raises(InvalidInput) as refused:
            client.translate("en-fr", SENTENCES, **{**BEAMS, **option})
        assert refused.value.field == field
