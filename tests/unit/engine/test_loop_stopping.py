"""Stop strings, stop tokens and log-probabilities through the loop: a text ends in the step that decides it, alone or in company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.loop_front import Front, generate, letters
from tests.unit.engine.scheduling.stand_ins import AlphabetStream, alone
from trine import frames
from trine.errors import Bug
from trine.sampling import Stopping


@pytest.fixture(params=["decoder", "encoder-decoder"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    made = Front(request.param, slots=3)
    yield made
    made.close()


@pytest.fixture
def decoder() -> Iterator[Front]:
    made = Front("decoder")
    yield made
    made.close()


def test_the_engine_stops_at_that_step(decoder: Front) -> None:
    """ "1 2" goes on dgmyw: after the y its row is free, and the w is never computed."""
    decoder.generate(1, "1 2", limit=20, stopping=Stopping(strings=("my",)))
    decoder.settle()
    assert decoder.closed[1].generated == [frames.Generated("dg", "stop_sequence", frames.Usage(2, 4), "my")]
    assert len(decoder.runner.steps) == 4
    assert (decoder.scheduler.running, decoder.scheduler.cache_used) == (0, 0.0)


def test_a_stream_ends_with_the_stop_that_matched(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=20, stream=True, stopping=Stopping(token_ids=(24,)))
    decoder.settle()
    end = decoder.ends[1, 0]
    assert (decoder.texts(1), end.finish, end.matched, end.usage) == (
        ["dgm"],
        "stop_sequence",
        24,
        frames.Usage(2, 4),
    )


def test_log_probabilities_come_with_the_text(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=2, logprobs=1)
    decoder.generate(2, "1 2", limit=2)
    decoder.settle()
    assert [entry.token_id for entry in decoder.closed[1].generated[0].logprobs] == [3, 6]
    assert decoder.closed[2].generated[0].logprobs == []


def test_a_text_that_cannot_be_made_fails_alone(decoder: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(stream: AlphabetStream, token: int) -> str:
        raise Bug("the tokens cannot be turned into text")

    decoder.generate(1, "1 2", "1", limit=5, stopping=Stopping(strings=("q",)))
    decoder.generate(2, "1 2", limit=5)
    monkeypatch.setattr(AlphabetStream, "push", push)
    decoder.settle()
    failed = decoder.closed[1]
    assert (failed.reason, failed.message) == ("INTERNAL", "the tokens cannot be turned into text")
    assert decoder.texts(2) == ["dgmyw"]
    assert (decoder.scheduler.waiting, decoder.scheduler.running) == (0, 0)


ASK = st.fixed_dictionaries(
    {
        "prompt": st.lists(st.integers(1, 25), min_size=1, max_size=8),
        "limit": st.integers(1, 12),
        "stream": st.booleans(),
        "strings": st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=2), max_size=16),
        "ids": st.lists(st.integers(1, 25), max_size=2),
    }
)


def expected(ask: dict[str, Any], start: Sequence[int]) -> tuple[str, str, int]:
    """Text, why it ends, and how many tokens were written, from the tokens that it writes alone."""
    tokens, finish = alone([*ask["prompt"], *start], ask["limit"])
    for count, token in enumerate(tokens, 1):
        ended = finish if count == len(tokens) else ""
        if token in ask["ids"]:
            ended = "stop_sequence"
        visible = tokens[: count - (token == 0 or token in ask["ids"])]
        held = 0 if ended else visible[-1:].count(25)  # the stand-in's stream withholds a "z"
        text = letters(visible[: len(visible) - held])
        places = [place for stop in ask["strings"] if (place := text.find(stop)) >= 0]
        if places:
            return text[: min(places)], "stop_sequence", count
        if ended:
            return text, ended, count
    raise AssertionError("it never ends")


@given(asks=st.lists(ASK, min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("family", ["decoder", "encoder-decoder"])
def test_company_changes_nothing(family: str, asks: list[dict[str, Any]]) -> None:
    front = Front(family, slots=3)
    try:
        for number, ask in enumerate(asks):
            stopping = Stopping(0, tuple(ask["strings"]), tuple(ask["ids"]))
            text = " ".join(map(str, ask["prompt"]))
            front.send(generate(number, text, limit=ask["limit"], stream=ask["stream"], stopping=stopping))
            front.turn()
        front.settle()
        for number, ask in enumerate(asks):
            end: Any = front.ends[number, 0] if ask["stream"] else front.closed[number].generated[0]
            told = (front.texts(number)[0], end.finish, end.usage.output_tokens)
            assert told == expected(ask, [1] if family == "encoder-decoder" else [])
        assert (front.scheduler.waiting, front.scheduler.running) == (0, 0)
    finally:
        front.close()


def test_a_token_beyond_the_vocabulary_is_refused_and_the_engine_goes_on(front: Front) -> None:
    front.generate(1, "1", stopping=Stopping(token_ids=(26,)))
    front.generate(2, "1", limit=1)
    front.settle()
    assert (front.closed[1].reason, front.closed[1].field) == ("INVALID_INPUT", "stop_token_ids")
    assert isinstance(front.closed[2], frames.Answer)
