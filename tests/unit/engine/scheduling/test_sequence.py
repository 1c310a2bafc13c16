"""When a generation ends, and tokens that are forced."""

from __future__ import annotations

from tests.unit.engine.scheduling.stand_ins import generation, translation


def test_an_end_token_stops() -> None:
    sequence = generation([5, 6], 10)
    sequence.take(3)
    assert (sequence.written, sequence.finish) == (1, "")
    sequence.take(0)
    assert (sequence.context, sequence.written, sequence.finish) == ([5, 6, 3, 0], 2, "stop")


def test_the_limit_ends() -> None:
    sequence = generation([5], 2)
    sequence.take(3)
    sequence.take(4)
    assert sequence.finish == "length"


def test_an_end_token_in_the_last_place_is_a_stop() -> None:
    sequence = generation([5], 1)
    sequence.take(0)
    assert sequence.finish == "stop"


def test_forced_tokens_stand_whatever_the_sampler_says() -> None:
    sequence = translation([5], 3, forced={0: 7, 2: 0})
    for token in (3, 4, 5):
        sequence.take(token)
    assert sequence.context == [1, 7, 4, 0]
    assert sequence.finish == "length", "the context ended the text, not the checkpoint"


def test_an_end_token_in_a_forced_place_does_not_stop() -> None:
    sequence = translation([5], 3, forced={0: 7})
    sequence.take(0)
    assert (sequence.context, sequence.finish) == ([1, 7], "")
