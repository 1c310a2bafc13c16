"""The messages between the front and one engine, and how they travel. Both processes.

A frame is a 4-byte little-endian length and one msgpack list of messages: all that one tick of the front's loop, or one step of
the engine, has to say, in one write. `Submit`s carry an id that the front chose; the engine ends each id with exactly one
closing message: `Answer`, `Failed`, `Gone`, or a `Step` delta with `last`. Until then the id counts in the engine's window,
even when its caller has left: freed earlier, it would be a hidden queue in the socket's buffer.

Times are `time.monotonic()`, which all processes of one machine share.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from trine.sampling import Decoding

MAX_FRAME = 64 << 20

Aggregation = Literal["none", "simple", "first", "average", "max"]
"""How tokens become entities, as transformers' TokenClassificationPipeline names it."""

_HEAD = struct.Struct("<I")


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages; `array_like` keeps them small, `gc=False` is safe because they hold no cycles."""


# --- front to engine -----------------------------------------------------------------------------------------------------


class Submit(Frame, frozen=True):
    """What every request has. `deadline` is monotonic seconds; `priority` 1 low, 2 normal, 3 high."""

    id: int
    texts: list[str]
    deadline: float
    priority: int
    caller: str


class Windows(Frame, frozen=True):
    """A text longer than the context is read in windows, each of which begins with the last `overlap` tokens of the one before.

    None leaves the overlap to the engine: a quarter of what a window holds.
    """

    overlap: int | None = None


class Classify(Submit, tag=0, frozen=True):
    """Closed by `Answer` with `Classified`. `top_k` 0 means all labels."""

    top_k: int
    pairs: list[str | None] = []
    """The second text of each input, where it has one; or none at all."""
    raw_scores: bool = False
    """Tell logits instead of probabilities."""
    windows: Windows | None = None
    """None refuses what is longer than the context; likewise below."""


class ClassifyTokens(Submit, tag=5, frozen=True):
    """Closed by `Answer` with `Tagged`."""

    aggregation: Aggregation
    windows: Windows | None = None


class Embed(Submit, tag=6, frozen=True):
    """Closed by `Answer` with `Embedded`."""

    normalize: bool | None = None
    """None leaves it to the checkpoint."""
    dimensions: int = 0
    """Tell the first so many values of each embedding; 0 means all."""
    windows: Windows | None = None


class Message(Frame, frozen=True):
    """One turn of a conversation."""

    role: str
    content: str


class Direction(Frame, frozen=True):
    """Languages of one text, as the checkpoint names them; empty where the caller left it to the checkpoint."""

    source: str = ""
    target: str = ""


class Generate(Submit, tag=1, frozen=True):
    """Generation, translation or summarization, as the version's task is.

    With `stream` closed by `Step`, else by `Answer` with `Generated`.
    """

    decoding: Decoding
    stream: bool
    conversations: list[list[Message]] = []
    """Generation: one for each text, empty where the text itself is the prompt; or none at all."""
    directions: list[Direction] = []
    """Translation: one for each text, or none at all."""
    split: bool = True
    """Translation: write each sentence on its own. Else a text that does not fit the context is refused."""


class Cancel(Frame, tag=2, frozen=True):
    """The caller left; answered by `Gone` unless the id was closed before."""

    id: int


class Ping(Frame, tag=3, frozen=True):
    """Answered by `Pong` between two steps: an engine that is alive but makes no progress does not answer."""

    number: int


class Stop(Frame, tag=4, frozen=True):
    """Finish nothing, exit with status 0. The front sends it when no id is open, or when the drain deadline has passed."""


# --- engine to front -----------------------------------------------------------------------------------------------------


class Ready(Frame, tag=0, frozen=True):
    """First message of an engine that has loaded its artifact and passed its self-test."""

    load_seconds: float
    self_test_drift: float
    """max|a-b| / max|b| between the stored answer and this machine's."""
    slots: int
    """Sequences that can run at once; 0 for the encoder family."""


class LoadFailed(Frame, tag=1, frozen=True):
    """First and last message of an engine that cannot serve its artifact. `reason` as in errors.py."""

    reason: str
    message: str


class Usage(Frame, frozen=True):
    input_tokens: int
    output_tokens: int
    cut_tokens: int = 0
    cached_tokens: int = 0
    """Input tokens whose keys and values were there already."""
    windows: int = 0
    """Encoder family: sequences in which the text was read, 1 where it fits the context."""


class Classified(Frame, frozen=True):
    """One input's labels with scores, best first."""

    labels: list[tuple[str, float]]
    usage: Usage


class Entity(Frame, frozen=True):
    """A span of the text; `begin` and `end` in code points, the end exclusive."""

    label: str
    score: float
    text: str
    begin: int
    end: int


class Tagged(Frame, frozen=True):
    """One input's entities, in order."""

    entities: list[Entity]
    usage: Usage


class Embedded(Frame, frozen=True):
    """One input's embedding: little-endian float32."""

    values: bytes
    usage: Usage


class Alternative(Frame, frozen=True):
    """A token that could have been written. `logprob` is a natural logarithm; `text` is what the token adds after other text."""

    token_id: int
    text: str
    logprob: float


class TokenLogprob(Frame, frozen=True):
    """A token that was written, by the checkpoint's own distribution; the alternatives best first."""

    token_id: int
    text: str
    logprob: float
    alternatives: list[Alternative] = []


class Hypothesis(Frame, frozen=True):
    """One of the n best texts of a beam search."""

    text: str
    score: float
    """As sampling.BeamSearch defines it."""
    finish: str
    """As of Generated; likewise `matched`."""
    output_tokens: int
    matched: str | int | None = None


class Segment(Frame, frozen=True):
    """One part of a translation: where it stands in the source and in the target, in code points, each end exclusive."""

    source_begin: int
    source_end: int
    target_begin: int
    target_end: int
    finish: str
    """As of Generated, of this part alone; likewise `hypotheses`."""
    hypotheses: list[Hypothesis] = []


class Generated(Frame, frozen=True):
    """One input's text. `finish` is "stop", "length" or "stop_sequence"."""

    text: str
    finish: str
    usage: Usage
    matched: str | int | None = None
    """The stop string, or the stop token id, that ended the text."""
    logprobs: list[TokenLogprob] = []
    """One for each written token, where they were asked for."""
    segments: list[Segment] = []
    """Of a translation, in order."""
    hypotheses: list[Hypothesis] = []
    """Of a beam search, best first; those of a translation are in its segments."""


class Answer(Frame, tag=2, frozen=True):
    """The whole answer to `id`, in the order of its inputs. The list that does not apply is empty."""

    id: int
    classified: list[Classified] = []
    generated: list[Generated] = []
    tagged: list[Tagged] = []
    embedded: list[Embedded] = []


class Delta(Frame, frozen=True):
    """New text of one input of a streamed request; `finish`, `usage` and `matched` only in the input's last delta."""

    id: int
    input_index: int
    text: str
    finish: str = ""
    usage: Usage | None = None
    last: bool = False
    """Whether this closes the id: every input is finished."""
    matched: str | int | None = None
    logprobs: list[TokenLogprob] = []
    """The tokens written since the input's last delta, where they were asked for."""
    segments: list[Segment] = []
    """Of a translation: those that are finished since the input's last delta."""
    hypotheses: list[Hypothesis] = []
    """Of a beam search, in the input's last delta; those of a translation are in its segments."""

    def followed_by(self, newer: Delta) -> Delta:
        """Both as one; of the same input."""
        return msgspec.structs.replace(
            newer,
            text=self.text + newer.text,
            logprobs=[*self.logprobs, *newer.logprobs],
            segments=[*self.segments, *newer.segments],
        )


class Step(Frame, tag=3, frozen=True):
    """All deltas of one step."""

    deltas: list[Delta]


class Failed(Frame, tag=4, frozen=True):
    """Closes `id` with an error; `reason`, `message`, `field` and `retry_after` as in errors.py."""

    id: int
    reason: str
    message: str
    field: str = ""
    retry_after: float | None = None


class Gone(Frame, tag=5, frozen=True):
    """The engine has let go of a cancelled id."""

    id: int


class Pong(Frame, tag=6, frozen=True):
    number: int


class Observed(Frame, tag=7, frozen=True):
    """What the engine measured since the last frame. Durations in seconds; gauges are the values after the step."""

    waiting: int = 0
    running: int = 0
    cache_used: float = 0.0
    """Share of the cache's slots in use, 0 to 1."""
    rss_bytes: int = 0
    prefix_bytes: int = 0
    """Memory of the prefix cache."""
    queue: list[float] = []
    tokenize: list[float] = []
    compute: list[float] = []
    """One entry for each run of a graph."""
    batch_size: list[int] = []
    batch_tokens: list[int] = []
    first_token: list[float] = []
    """From the arrival of a sequence at the engine to its first new token."""
    inter_token: list[float] = []
    input_tokens: int = 0
    output_tokens: int = 0
    wasted_tokens: int = 0
    """Computed for callers who had left."""
    prefix_lookup_tokens: int = 0
    """Of the prompts that were looked up in the prefix cache."""
    prefix_hit_tokens: int = 0
    """Of these, what the prefix cache had."""


ToEngine = Classify | ClassifyTokens | Embed | Generate | Cancel | Ping | Stop
ToFront = Ready | LoadFailed | Answer | Step | Failed | Gone | Pong | Observed

_encode = msgspec.msgpack.Encoder().encode


def pack(messages: Sequence[Frame]) -> bytes:
    """One frame of all `messages`; several where they are too much for one, as after a pause of the reader."""
    body = _encode(messages)
    if len(body) > MAX_FRAME and len(messages) > 1:
        half = len(messages) // 2
        return pack(messages[:half]) + pack(messages[half:])
    return _HEAD.pack(len(body)) + body


class Unpacker:
    """Bytes in any portions to messages of one direction's union (`ToEngine` or `ToFront`)."""

    def __init__(self, union: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(list[union]).decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes. Raises ValueError or msgspec.MsgspecError when the peer talks nonsense."""
        self._buffer += data
        at, messages = 0, []
        with memoryview(self._buffer) as view:
            while len(view) - at >= _HEAD.size:
                (size,) = _HEAD.unpack_from(view, at)
                if size > MAX_FRAME:
                    raise ValueError(f"a frame of {size} bytes")
                begin = at + _HEAD.size
                if len(view) - begin < size:
                    break
                messages += self._decode(view[begin : begin + size])
                at = begin + size
        del self._buffer[:at]
        return messages
