"""The loop over a real socket and stand-ins, turned by hand, with a clock that moves when told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.unit.engine.loop_front import Front, classify, generate
from tests.unit.engine.scheduling.stand_ins import AlphabetStream
from trine import frames

NOW = 1000.0
"""The clock of the stand-ins, until a test moves it."""


@pytest.fixture
def decoder() -> Iterator[Front]:
    front = Front("decoder")
    yield front
    front.close()


@pytest.fixture
def seq2seq() -> Iterator[Front]:
    front = Front("encoder-decoder")
    yield front
    front.close()


@pytest.fixture
def encoder() -> Iterator[Front]:
    front = Front("encoder")
    yield front
    front.close()


# --- answers ---------------------------------------------------------------------------------------------------------


def test_generation_on_paper(decoder: Front) -> None:
    decoder.generate(1, "1 2", "13", limit=5)
    decoder.settle()
    assert decoder.closed[1].generated == [
        frames.Generated("dgmyw", "length", frames.Usage(2, 5)),
        frames.Generated("n", "stop", frames.Usage(1, 2)),
    ]


def test_stream_equals_unary(decoder: Front) -> None:
    decoder.generate(1, "1 2", "13", "5 20", limit=9)
    decoder.generate(2, "1 2", "13", "5 20", limit=9, stream=True)
    decoder.settle()
    assert decoder.texts(1) == decoder.texts(2)
    results = decoder.closed[1].generated
    assert [(result.finish, result.usage) for result in results] == [
        (decoder.ends[2, index].finish, decoder.ends[2, index].usage) for index in range(3)
    ]


def test_all_deltas_of_a_step_are_one_message(decoder: Front) -> None:
    decoder.generate(1, "1 2", "3 4", limit=3, stream=True)
    decoder.loop.turn()
    messages = frames.Unpacker(frames.ToFront).feed(decoder.ours.recv(1 << 20))
    (step,) = [message for message in messages if isinstance(message, frames.Step)]
    assert [(delta.input_index, delta.text) for delta in step.deltas] == [(0, "d"), (1, "h")]


def test_translation_on_paper(seq2seq: Front) -> None:
    """The start token is 1, so "2" goes on 3 (d), 6 (g), 12 (m)."""
    seq2seq.generate(1, "2", limit=3)
    seq2seq.generate(2, "2", limit=3, stream=True)
    seq2seq.settle()
    assert seq2seq.texts(1) == seq2seq.texts(2) == ["dgm"]


def test_the_sentences_of_a_text_run_side_by_side(seq2seq: Front) -> None:
    seq2seq.generate(1, "2\n\n13  \n", "2", limit=3)
    seq2seq.generate(2, "2\n\n13  \n", "2", limit=3, stream=True)
    seq2seq.settle()
    assert seq2seq.runner.inserts[0] == [0, 1, 2, 3], "all that have a row, in one step"
    assert seq2seq.texts(1) == seq2seq.texts(2) == ["dgm\n\noce  \n", "dgm"]
    ends = [seq2seq.ends[2, index] for index in range(2)]
    assert [(end.finish, end.usage) for end in ends] == [
        (result.finish, result.usage) for result in seq2seq.closed[1].generated
    ]


def test_a_text_of_many_sentences_is_cancelled_whole(seq2seq: Front) -> None:
    seq2seq.generate(1, "2\n" * 9, limit=30)
    seq2seq.turn()
    seq2seq.send(frames.Cancel(1))
    seq2seq.settle()
    assert (seq2seq.scheduler.waiting, seq2seq.scheduler.running) == (0, 0)


def test_classification_on_paper(encoder: Front) -> None:
    encoder.classify(1, "9", "0 0 0", top_k=1)
    encoder.settle()
    assert [result.labels[0][0] for result in encoder.closed[1].classified] == ["sum", "length"]


def test_the_rest_of_a_call_waits_for_the_next_batch(encoder: Front) -> None:
    encoder.classify(1, "1 1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1 1 1", "1")
    encoder.turn()
    assert encoder.open == {1}
    encoder.turn()
    assert len(encoder.closed[1].classified) == 3
    assert encoder.runner.batches == [[1, 10], [10]]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_answered_has_no_deadline_any_more(decoder: Front, stream: bool) -> None:
    decoder.generate(1, "1 2", limit=2, stream=stream, deadline=NOW + 5)
    decoder.settle()
    decoder.clock.now += 5
    decoder.send(frames.Ping(1), frames.Cancel(1))
    decoder.turn()
    assert decoder.texts(1) == ["dg"]


# --- cancels and deadlines -------------------------------------------------------------------------------------------


def test_cancel_while_it_travels_is_never_tokenized_or_run(decoder: Front) -> None:
    decoder.send(generate(1, "not a number"), frames.Cancel(1))
    decoder.settle()
    assert decoder.closed[1] == frames.Gone(1)
    assert decoder.runner.steps == []


def test_cancel_while_waiting() -> None:
    front = Front(slots=1)
    front.generate(1, "1 2", limit=3)
    front.generate(2, "1 2", limit=3)
    front.turn()
    front.send(frames.Cancel(2))
    front.turn()
    assert front.closed == {2: frames.Gone(2)}
    front.settle()
    assert front.texts(1) == ["dgm"]
    front.close()


def test_cancel_while_running_frees_the_row_for_the_next() -> None:
    front = Front(slots=1)
    front.generate(1, "1 2", limit=50, stream=True)
    front.generate(2, "1 2", limit=1)
    front.turn()
    assert front.scheduler.running == 1
    front.send(frames.Cancel(1))
    front.turn()
    assert front.closed[1] == frames.Gone(1)
    assert front.texts(2) == ["d"], "it ran in the same step"
    assert sum(seen.wasted_tokens for seen in front.observed) == 2
    front.close()


def test_cancel_of_what_is_closed_says_nothing(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=1)
    decoder.settle()
    decoder.send(frames.Cancel(1), frames.Cancel(99))
    decoder.turn()
    assert list(decoder.closed) == [1]


def test_deadline_before_it_arrives_is_never_tokenized_or_run(decoder: Front) -> None:
    decoder.generate(1, "not a number", deadline=NOW)
    decoder.settle()
    assert decoder.closed[1].reason == "DEADLINE_EXCEEDED"
    assert decoder.runner.steps == []


def test_deadline_in_the_queue() -> None:
    front = Front(slots=1)
    front.generate(1, "1 2", limit=50)
    front.generate(2, "1 2", deadline=NOW + 5)
    front.turn()
    front.clock.now += 5
    front.turn()
    assert front.closed[2].reason == "DEADLINE_EXCEEDED"
    assert front.open == {1}
    front.close()


def test_deadline_in_the_middle_of_a_stream(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=50, stream=True, deadline=NOW + 5)
    decoder.turn()
    decoder.turn()
    decoder.clock.now += 5
    decoder.turn()
    assert decoder.closed[1].reason == "DEADLINE_EXCEEDED"
    assert decoder.text[1, 0] == "dg"
    assert decoder.scheduler.running == 0


# --- one's trouble is nobody else's ----------------------------------------------------------------------------------


def test_bad_input_fails_its_own_call_only(encoder: Front) -> None:
    encoder.send(classify(1, "1", " "), classify(2, "1"), classify(3, "crash"), classify(4, "1 " * 17))
    encoder.settle()
    assert (encoder.closed[1].reason, encoder.closed[1].field) == ("INVALID_INPUT", "inputs[1].text")
    assert isinstance(encoder.closed[2], frames.Answer)
    assert encoder.closed[3].reason == "INTERNAL"
    assert "crash" not in encoder.closed[3].message, "only our own words leave the process"
    assert (encoder.closed[4].reason, encoder.closed[4].field) == ("INVALID_INPUT", "inputs[0].text")
    assert encoder.runner.batches == [[1]]


def test_a_request_for_another_task(encoder: Front) -> None:
    encoder.generate(1, "1")
    encoder.settle()
    assert encoder.closed[1].reason == "WRONG_TASK"


@pytest.mark.parametrize("family", ["encoder", "decoder", "encoder-decoder"])
def test_a_failing_step_fails_its_own_sequences_and_the_loop_goes_on(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    front = Front(family, slots=2)
    send: Any = front.classify if family == "encoder" else front.generate
    send(1, "1 2", "666")
    with caplog.at_level(logging.ERROR):
        front.settle()
    assert front.closed[1].reason == "INTERNAL"
    assert "poison" not in front.closed[1].message
    assert "RuntimeError" in caplog.text, "the log has the traceback"
    assert (front.scheduler.waiting, front.scheduler.running) == (0, 0)
    send(2, "1 2")
    front.settle()
    assert not isinstance(front.closed[2], frames.Failed)
    front.close()


def test_a_source_on_which_the_encoder_fails_takes_no_running_text_with_it(seq2seq: Front) -> None:
    seq2seq.generate(1, "2", limit=5)
    seq2seq.turn()
    seq2seq.turn()
    seq2seq.generate(2, "666", limit=5)
    seq2seq.settle()
    assert seq2seq.closed[2].reason == "INTERNAL"
    assert seq2seq.texts(1) == ["dgmyw"]


def test_one_member_that_cannot_be_told_fails_alone(encoder: Front) -> None:
    encoder.runner.run = lambda texts, _: [
        np.array([float("nan")] * 2 if tokens == [9] else [1.0, 0.0]) for tokens in texts
    ]
    encoder.send(classify(1, "9", "1"), classify(2, "1"))
    encoder.settle()
    assert (encoder.closed[1].reason, encoder.closed[1].message) == (
        "INTERNAL",
        "the checkpoint gave no finite score for this text",
    )
    assert len(encoder.closed[2].classified) == 1


@pytest.mark.parametrize(("texts", "told"), [(["1 2", "3 4"], {(1, 0): "d"}), (["3 4", "1 2"], {})])
def test_a_text_that_cannot_be_written_closes_its_call_after_what_was_said(
    decoder: Front, monkeypatch: pytest.MonkeyPatch, texts: list[str], told: dict[tuple[int, int], str]
) -> None:
    """ "3 4" goes on 7 (h), on which the detokenizer fails."""
    push = AlphabetStream.push

    def failing(stream: AlphabetStream, token: int) -> str:
        if token == 7:
            raise RuntimeError("no such letter")
        return push(stream, token)

    monkeypatch.setattr(AlphabetStream, "push", failing)
    decoder.send(generate(1, *texts, limit=5, stream=True), generate(2, "1 2", limit=5, stream=True))
    decoder.settle()
    assert decoder.closed[1].reason == "INTERNAL"
    assert {key: text for key, text in decoder.text.items() if key[0] == 1} == told
    assert decoder.texts(2) == ["dgmyw"]


def test_priority_and_fairness_reach_the_rows() -> None:
    front = Front(slots=1)
    front.generate(1, *["1 2"] * 5, limit=1, caller="thousand")
    front.generate(2, "1 2", limit=1, caller="other")
    front.generate(3, "1 2", limit=1, caller="third", priority=3)
    front.settle()
    assert list(front.closed) == [3, 2, 1]
    front.close()


# --- life of the loop ------------------------------------------------------------------------------------------------


def test_ping_is_answered_between_steps(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=9)
    decoder.send(frames.Ping(7))
    decoder.turn()
    decoder.turn()
    assert decoder.pongs == [7]


def test_a_frame_in_two_portions(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=5)
    frame = frames.pack([generate(2, "1 2", limit=1)])
    decoder.open.add(2)
    decoder.ours.sendall(frame[:7])
    decoder.turn()
    decoder.ours.sendall(frame[7:])
    decoder.settle()
    assert (decoder.texts(1), decoder.texts(2)) == (["dgmyw"], ["d"])


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("end", ["stop", "eof"])
def test_ends_with_the_front(busy: bool, end: str) -> None:
    front = Front()
    thread = threading.Thread(target=front.loop.run)
    thread.start()
    if busy:
        front.generate(1, "1 1", limit=60)
    if end == "stop":
        front.send(frames.Stop())
    else:
        front.ours.close()
    thread.join(5)
    assert not thread.is_alive()
    front.close()


def test_nonsense_from_the_front_ends_the_engine(decoder: Front) -> None:
    decoder.ours.sendall(b"\x01\x00\x00\x00\xc1")
    with pytest.raises(msgspec.MsgspecError):
        decoder.loop.run()


def test_observed(decoder: Front) -> None:
    decoder.generate(1, "1 2", limit=2, deadline=NOW + 60)
    decoder.turn()
    decoder.clock.now += 0.5
    decoder.settle()
    first, second = decoder.observed
    assert (first.running, first.waiting, first.cache_used) == (1, 0, 0.25)
    assert (second.running, second.waiting, second.cache_used) == (0, 0, 0.0)
    assert (first.first_token, second.inter_token) == ([0.0], [0.5])
    assert (first.input_tokens, first.output_tokens, second.output_tokens) == (2, 1, 1)
    assert (first.batch_size, first.batch_tokens, second.batch_tokens) == ([1], [2], [1])
    assert len(first.tokenize) == len(first.queue) == len(first.compute) == 1


def test_an_idle_turn_observes_nothing(decoder: Front) -> None:
    decoder.send(frames.Ping(1))
    decoder.turn()
    decoder.observed.clear()
    decoder.send(frames.Ping(2))
    decoder.turn()
    assert (decoder.pongs, decoder.observed) == ([1, 2], [])
