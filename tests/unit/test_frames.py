"""The messages between front and engine: they arrive as they were sent, in whatever portions."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine import frames
from trine.sampling import BeamSearch, Decoding, Sampling, Stopping

BEST = [frames.Hypothesis("text", -0.5, "stop", 3), frames.Hypothesis("tex", -0.75, "stop_sequence", 2, 7)]
SEGMENTS = [frames.Segment(1, 4, 0, 4, "length", BEST), frames.Segment(5, 6, 5, 9, "stop")]
USAGE = frames.Usage(3, 2, 1)
LOGPROBS = [frames.TokenLogprob(3, " x", -0.5, [frames.Alternative(3, " x", -0.5)])]
TO_ENGINE: list[Any] = [
    frames.Classify(7, ["a", "b"], 1.0, 2, "x", 0, ["c", None], True, frames.Windows()),
    frames.ClassifyTokens(8, ["a"], 1.0, 2, "x", "average", frames.Windows(7)),
    frames.Embed(9, ["a"], 1.0, 2, "x", False, 128, frames.Windows(0)),
    frames.Embed(10, ["a"], 1.0, 2, "x"),
    frames.Classify(1, ["a", "ü\x00\U0001f600", ""], 12.5, 2, "ipv4:127.0.0.1", 3),
    frames.Generate(
        2**40, ["b"], 0.0, 3, "", Decoding(Sampling(0.5, 0.9, 7, 2**64 - 1), max_new_tokens=9), True
    ),
    frames.Generate(3, [], 1e9, 1, "x", Decoding(), False),
    frames.Generate(
        4,
        ["c"],
        0.0,
        2,
        "",
        Decoding(Sampling(min_p=0.5, logit_bias={0: -1.5}), Stopping(1, ("\n",), (7,)), 5, 20),
        True,
    ),
    frames.Generate(5, [""], 1e9, 1, "x", Decoding(), True, [[frames.Message("user", "hi")]]),
    frames.Generate(
        6,
        ["a", "b"],
        1e9,
        1,
        "x",
        Decoding(beam_search=BeamSearch(4, 0.5, "never", 2)),
        False,
        directions=[frames.Direction("en", "fr"), frames.Direction()],
        split=False,
    ),
    frames.Cancel(2**40),
    frames.Ping(5),
    frames.Stop(),
]
TO_FRONT: list[Any] = [
    frames.Ready(0.5, 1e-7, 16),
    frames.LoadFailed("ARTIFACT_CORRUPT", "a file differs"),
    frames.Answer(1, classified=[frames.Classified([("good", 0.75), ("bad", 0.25)], USAGE)]),
    frames.Answer(3, tagged=[frames.Tagged([frames.Entity("PER", 0.5, "Zoë", 3, 6)], USAGE)]),
    frames.Answer(4, embedded=[frames.Embedded(b"\x00\x00\x80?\xff", frames.Usage(3, 0, windows=2))]),
    frames.Answer(2, generated=[frames.Generated("text", "stop", USAGE)]),
    frames.Answer(2, generated=[frames.Generated("text", "stop", USAGE, segments=SEGMENTS)]),
    frames.Answer(2, generated=[frames.Generated("text", "stop", USAGE, hypotheses=BEST)]),
    frames.Step([frames.Delta(3, 0, "x", segments=SEGMENTS)]),
    frames.Answer(
        2,
        generated=[
            frames.Generated("", "stop_sequence", USAGE, 0),
            frames.Generated("text", "stop_sequence", USAGE, "\n", LOGPROBS),
        ],
    ),
    frames.Step([frames.Delta(3, 0, "x", "stop_sequence", USAGE, True, "x", LOGPROBS)]),
    frames.Step([frames.Delta(3, 1, "x"), frames.Delta(3, 0, "", "length", USAGE, True)]),
    frames.Failed(4, "INVALID_INPUT", "too long", "inputs[1].text", 0.5),
    frames.Gone(5),
    frames.Pong(6),
    frames.Observed(waiting=1, queue=[0.5], batch_size=[2], input_tokens=7),
]
DIRECTIONS = [(frames.ToEngine, TO_ENGINE), (frames.ToFront, TO_FRONT)]
IDS = ["to engine", "to front"]


@pytest.mark.parametrize(("union", "messages"), DIRECTIONS, ids=IDS)
def test_every_message_arrives_as_it_was_sent(union: Any, messages: list[Any]) -> None:
    assert {type(message) for message in messages} == set(union.__args__)
    received = frames.Unpacker(union).feed(frames.pack(messages))
    assert received == messages
    assert [type(message) for message in received] == [type(message) for message in messages]


@pytest.mark.parametrize(("union", "messages"), DIRECTIONS, ids=IDS)
@given(data=st.data())
def test_portions_do_not_matter(union: Any, messages: list[Any], data: st.DataObject) -> None:
    stream = frames.pack(messages) + frames.pack([]) + frames.pack(messages[:1])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    unpacker, received = frames.Unpacker(union), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += unpacker.feed(stream[begin:end])
    assert received == messages + messages[:1]


def test_bytes_one_by_one() -> None:
    unpacker = frames.Unpacker(frames.ToFront)
    portions = [unpacker.feed(bytes([byte])) for byte in frames.pack(TO_FRONT)]
    assert portions[-1] == TO_FRONT
    assert not any(portions[:-1])


def test_a_frame_is_its_length_and_its_list() -> None:
    packed = frames.pack([frames.Cancel(7)])
    (size,) = struct.unpack("<I", packed[:4])
    assert size == len(packed) - 4
    assert msgspec.msgpack.decode(packed[4:]) == [[2, 7]]


def test_a_length_beyond_the_limit_is_refused_before_it_is_awaited() -> None:
    with pytest.raises(ValueError, match="bytes"):
        frames.Unpacker(frames.ToFront).feed(struct.pack("<I", frames.MAX_FRAME + 1))


@pytest.mark.parametrize(
    "body",
    [b"\xc1", msgspec.msgpack.encode([[99, 1]]), msgspec.msgpack.encode({"id": 1}), b"\x91\x92\x02\xa1a"],
)
def test_nonsense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        frames.Unpacker(frames.ToFront).feed(struct.pack("<I", len(body)) + body)


def test_the_directions_do_not_understand_each_other() -> None:
    with pytest.raises(msgspec.MsgspecError):
        frames.Unpacker(frames.ToFront).feed(frames.pack([TO_ENGINE[0]]))


def test_messages_do_not_change() -> None:
    with pytest.raises(AttributeError):
        frames.Gone(1).id = 2  # type: ignore[misc]


def test_what_is_too_much_for_one_frame_leaves_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front whose engine paused may have more text waiting than a frame may hold; the engine must not die of it."""
    monkeypatch.setattr(frames, "MAX_FRAME", 100)
    messages = [frames.Classify(number, ["x" * 60], 0.0, 2, "", 0) for number in range(5)]
    assert frames.Unpacker(frames.ToEngine).feed(frames.pack(messages)) == messages


def test_two_deltas_of_an_input_are_one() -> None:
    both = frames.Delta(3, 1, "a").followed_by(frames.Delta(3, 1, "b", "stop", USAGE, True))
    assert both == frames.Delta(3, 1, "ab", "stop", USAGE, True)


def test_deltas_that_gathered_lose_nothing() -> None:
    segments = [frames.Segment(0, 1, 0, 1, "stop"), frames.Segment(1, 2, 1, 2, "stop")]
    first = frames.Delta(1, 0, "a", logprobs=[frames.TokenLogprob(3, "a", -0.5, [])], segments=segments[:1])
    last = frames.Delta(
        1,
        0,
        "b",
        "stop_sequence",
        frames.Usage(2, 2),
        last=True,
        matched="\n",
        logprobs=[frames.TokenLogprob(4, "b", -0.25, [])],
        segments=segments[1:],
    )
    both = first.followed_by(last)
    assert (both.text, both.finish, both.usage, both.last) == ("ab", "stop_sequence", last.usage, True)
    assert both.matched == "\n"
    assert [one.token_id for one in both.logprobs] == [3, 4]
    assert both.segments == segments
