"""One generation: the single object that holds its whole state. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field

from trine.engine.scheduling.beams import lay_out
from trine.engine.scheduling.call import Item

NO_ROW = -1


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence(Item):
    """A generation that waits, runs in a row of the cache (a beam search in several), or is finished.

    `context` is all that the decoder reads: what it begins with (the prompt, or the start token) and the tokens written so far.
    The newest written token is in the context but not yet in the cache. Of a beam search that goes on, the written part of the
    context is only as long as that of each beam.
    """

    context: list[int]
    begin: int
    """How many tokens of the context were given; those after it were written."""
    limit: int
    """The most tokens to write, at least 1."""
    choice: object = None
    """The sampler's state of this sequence; opaque here, handed to the runner whenever a token is wanted."""
    eos_ids: frozenset[int] = frozenset()
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end it at the caller's wish."""
    forced: Mapping[int, int] = field(default_factory=dict)
    """Written place (from 0) to the token that stands there whatever the sampler says."""
    width: int = 1
    """Rows that it needs: one, or one for each beam."""
    rows: list[int] = field(default_factory=list)
    """Rows that it has. The first one runs the prompt; then each beam has its own, in the order of `beams`."""
    beams: Many[int] = ()
    """Of a beam search: the newest token of each beam, best first. Empty until the first choice."""
    past: int = 0
    """Tokens of the context whose keys and values are in the cache."""
    cached: int = 0
    """Those of them that were not computed for it: the prefix cache had them."""
    encoded: bool = False
    """Encoder-decoder: whether the source's keys and values are in the row."""
    finish: str = ""
    """"stop", "length", "stop_sequence", or empty while it goes on."""
    token_at: float | None = None
    """When its newest token was written."""

    @property
    def row(self) -> int:
        return self.rows[0] if self.rows else NO_ROW

    @property
    def remaining(self) -> int:
        """Tokens of the context that must run before the next one can be chosen; 1 while decoding."""
        return len(self.context) - self.past

    @property
    def written(self) -> int:
        return len(self.context) - self.begin

    @property
    def completes(self) -> bool:
        """Whether the chosen step runs the context's end, so that a token is wanted."""
        return self.chunk == self.remaining

    def take(self, token: int) -> None:
        """Write the next token, and finish when it is an end token of the sampler's own or the limit is reached.

        Must not raise: batch-mates are settled in the same step.
        """
        forced = self.forced.get(self.written)
        self.context.append(token if forced is None else forced)
        if forced is None and token in self.eos_ids:
            self.finish = "stop"
        elif forced is None and token in self.stop_ids:
            self.finish = "stop_sequence"
        elif self.written >= self.limit:
            self.finish = "length"

    def branch(self, branches: Many[tuple[int, int]]) -> list[tuple[int, int]]:
        """Go on with these beams, best first, each the index of the beam that it continues and its token; finish when there are none.

        Returns the rows to copy, as (source, target) pairs. Must not raise, as `take`.
        """
        if not branches:
            self.finish = "stop"
            return []
        self.beams, self.lanes = [token for _, token in branches], len(branches)
        self.context.append(self.beams[0])
        if self.written >= self.limit:
            self.finish = "length"
            return []
        self.rows, copies = lay_out(self.rows, [parent for parent, _ in branches])
        return copies
