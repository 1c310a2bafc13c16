"""What one input is answered with, whole. Both processes."""

from __future__ import annotations

from trine.frames.base import Frame


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
