"""What an engine says to the front about one request, or about itself. Both processes."""

from __future__ import annotations

import msgspec

from trine.frames.base import Frame
from trine.frames.results import (
    Classified,
    Embedded,
    Generated,
    Hypothesis,
    Segment,
    Tagged,
    TokenLogprob,
    Usage,
)


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
