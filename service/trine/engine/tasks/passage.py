"""The text of one input, written in one part or in several that run side by side. Engine process, its only thread.

What is told is always a beginning of the whole text: a part waits until those before it are finished. A part that a stop ends, ends the
whole text; those after it are let go with their next token and are not told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from trine import frames
from trine.engine.tasks.draft import Draft
from trine.engine.text.segment import Span


@dataclass(slots=True, frozen=True)
class Source:
    """What one input is read as."""

    parts: list[list[int]]
    """Token ids of each part, at least one."""
    spans: Sequence[Span] = ()
    """Where each part stands in the input; empty where that is not told."""
    gaps: Sequence[str] = ()
    """With spans: the whitespace before each part, and after the last."""
    start_id: int | None = None
    """What the decoder begins with; None: as the checkpoint does."""
    first_id: int | None = None
    """What is written first; None: as the checkpoint does."""


@dataclass(slots=True, eq=False, kw_only=True)
class Part(Draft):
    """A sequence that is the whole text of an input, or one segment of it."""

    passage: Passage
    place: int
    """Among the parts of its passage."""
    ended: bool = False
    """Finished, with all that is to be told of it. One that finishes in the same step may be told before that."""
    hypotheses: list[frames.Hypothesis] = field(default_factory=list)
    """Of its beam search, when it is finished."""


@dataclass(slots=True, eq=False)
class Passage:
    source: Source
    unfinished: int
    """Parts that are still being written."""
    finish: str = "stop"
    """Of the whole text, as far as it has been told; likewise `matched`."""
    matched: str | int | None = None
    text: str = ""
    """May be told and has not been; likewise `logprobs` and `segments`."""
    logprobs: list[frames.TokenLogprob] = field(default_factory=list)
    segments: list[frames.Segment] = field(default_factory=list)
    hypotheses: list[frames.Hypothesis] = field(default_factory=list)
    """Of the whole text's beam search; those of segments are in the segments."""
    _parts: deque[Part] = field(default_factory=deque)
    """Those that are not wholly told."""
    _begin: int | None = None
    """Where the first of them begins in the whole text, once it has begun to be told."""
    _length: int = 0
    """Characters of the whole text up to now."""
    _input_tokens: int = 0
    _output_tokens: int = 0
    _cached_tokens: int = 0

    @property
    def usage(self) -> frames.Usage:
        """Of the parts that were told."""
        return frames.Usage(self._input_tokens, self._output_tokens, cached_tokens=self._cached_tokens)

    def add(self, part: Part) -> None:
        """In their order, before any of them runs."""
        self._parts.append(part)

    def end(self, part: Part) -> None:
        """A part is finished and has all its text."""
        self.unfinished -= 1
        part.ended = True
        if part.finish == "stop_sequence":
            for other in self._parts:
                if other.place > part.place:
                    other.limit = 1

    def advance(self) -> None:
        """Take over what has become certain of the whole text."""
        while self._parts:
            part = self._parts[0]
            if not part.ended and (part.finish or not part.text):
                return
            self._take(part)
            if not part.ended:
                return
            self._settle(self._parts.popleft())

    def _take(self, part: Part) -> None:
        """Log-probabilities wait for the next text, so that tokens whose text is withheld are not told before it."""
        if self._begin is None:
            self._write(self.source.gaps[part.place] if self.source.gaps else "")
            self._begin = self._length
        self._write(part.text)
        self.logprobs += part.logprobs
        part.text, part.logprobs = "", []

    def _settle(self, part: Part) -> None:
        """`part` is told to its end, which may be the end of all."""
        self._input_tokens += len(part.tokens)
        self._output_tokens += part.written
        self._cached_tokens += part.cached
        if part.finish != "stop":
            self.finish, self.matched = part.finish, part.matched
        if self.source.spans and self._begin is not None:
            span = self.source.spans[part.place]
            self.segments.append(
                frames.Segment(*span, self._begin, self._length, part.finish, part.hypotheses)
            )
        else:
            self.hypotheses = part.hypotheses
        self._begin = None
        if part.finish == "stop_sequence":
            self._parts.clear()
        elif not self._parts and self.source.gaps:
            self._write(self.source.gaps[-1])

    def _write(self, text: str) -> None:
        self.text += text
        self._length += len(text)
