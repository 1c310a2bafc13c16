"""One text being written: its tokens, its text so far, and what was not told yet. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trine import frames
from trine.engine.runtime.beam import BeamChoice
from trine.engine.scheduling import sequence as scheduling
from trine.engine.text.tail import Tail
from trine.errors import Bug


class Scores(Protocol):
    """The log-probabilities of one place, as runtime.logprobs has them."""

    def of(self, token: int, /) -> float: ...

    def best(self, count: int, /) -> list[tuple[int, float]]: ...


class Choice(Protocol):
    """What a task reads of the sampler's state."""

    @property
    def logprobs(self) -> Scores | None:
        """Of the newest written token's place; None unless they were asked for."""


@dataclass(slots=True, eq=False, kw_only=True)
class Draft(scheduling.Sequence):
    """A sequence that knows its text, so that a stop string ends it in the step that completes it.

    Of a beam search the context gets the best text when it is found; until then there is none.
    """

    tail: Tail | None = None
    """For a streamed call, and where there are stop strings; else the text is made when all tokens are there."""
    scored: Choice | None = None
    """Its sampler's state, where log-probabilities are to be told."""
    search: BeamChoice | None = None
    """Its sampler's state, where it is a beam search."""
    alternatives: int = 0
    """How many to tell with each token's log-probability."""
    text: str = ""
    """What the tail has let go and has not been told."""
    matched: str | int | None = None
    """The stop string or stop token id that ended it."""
    logprobs: list[frames.TokenLogprob] = field(default_factory=list)
    """Those that have not been told."""
    failure: Exception | None = None
    """Why its text cannot be made."""

    def take(self, token: int) -> None:
        scheduling.Sequence.take(
            self, token
        )  # no super(): a class with slots is not the one that it closes over
        if self.finish == "stop_sequence":
            self.matched = token
        try:
            self._read()
        except Exception as error:
            self.failure, self.finish = error, "failed"

    def branch(self, branches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        copies = scheduling.Sequence.branch(self, branches)
        if self.search is not None and not branches:
            if self.search.hypotheses:
                best = self.search.hypotheses[0]
                self.context[self.begin :] = best.tokens
                self.finish, self.matched = best.finish, best.matched
            else:
                self.failure = Bug("the checkpoint gave no finite score for this text")
                self.finish = "failed"
        return copies

    def visible(self) -> list[int]:
        """The written tokens that are text."""
        return self.without_end(self.context[self.begin :], self.matched)

    def without_end(self, written: Sequence[int], matched: str | int | None) -> list[int]:
        """An end token is no text, be it special to the tokenizer or not; nor is a stop token that was matched."""
        end = len(written) - isinstance(matched, int)
        return [token for token in written[:end] if token not in self.eos_ids]

    def _read(self) -> None:
        """Let the tail have the newest token."""
        if self.tail is None:
            return
        token = self.context[-1]
        if token not in self.eos_ids and self.matched is None:
            self.text += self.tail.push(token)
        if self.finish:
            self.text += self.tail.finish()
        if self.tail.matched is not None:
            self.finish, self.matched = "stop_sequence", self.tail.matched
