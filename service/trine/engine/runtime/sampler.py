"""From logits to next tokens: penalties, then greedy, or temperature, top-k, top-p and min-p, seeded; `beam` has beam search.

Engine process, step thread.

Plain greedy rows take one argmax over the whole batch. Any other row is worked on alone, as vectors over the vocabulary, so that
its bits cannot depend on its batch-mates; a draw is one float64 of the row's own Philox stream through the inverse of its
cumulative distribution. Order of the filters and their treatment of ties are those of transformers' logits warpers
(TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper), computed in float64.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trine.engine.runtime.beam import BeamChoice
from trine.engine.runtime.logprobs import Logprobs
from trine.engine.runtime.penalties import Penalties
from trine.errors import Bug
from trine.sampling import Sampling

_SEEDS = 1 << 64
_LIKELY = 1024


class Choice:
    """One sequence's sampler state: its parameters, its place in its random stream, and what it has read and written."""

    __slots__ = ("_asked", "_penalties", "_random", "logprobs", "plain", "sampling")

    def __init__(
        self,
        sampling: Sampling,
        seed: int,
        *,
        context: Sequence[int] = (),
        begin: int = 0,
        end_ids: Collection[int] = (),
        min_new_tokens: int = 0,
        logprobs: bool = False,
    ) -> None:
        """`context` is the sequence's own list, which grows; its first `begin` tokens were read, the others written."""
        self.sampling = sampling
        self._random = None if sampling.greedy else np.random.Generator(np.random.Philox(seed % _SEEDS))
        penalties = Penalties(sampling, context, begin, end_ids, min_new_tokens)
        self._penalties = penalties if penalties.active else None
        self._asked = logprobs
        self.logprobs: Logprobs | None = None
        """Of the newest place, before penalties and filters; only where they were asked for."""
        self.plain = sampling.greedy and self._penalties is None and not logprobs
        """Whether the best token of the logits as they are is all that it wants."""

    def draw(self, logits: NDArray[np.float32]) -> int:
        """The next token id from logits float32 [vocab], which stay as they are; uses up one number of the stream unless greedy.

        A row without a finite best logit (a broken checkpoint, or nothing is left to choose) gets its argmax, so that it cannot
        fail its batch-mates.
        """
        if self._asked:
            self.logprobs = Logprobs(logits)
        if self._penalties is not None:
            logits = self._penalties.apply(logits)
        best = int(logits.argmax())
        if self._random is None or not np.isfinite(logits[best]):
            return best
        ids, weights = candidates(logits, self.sampling)
        cumulative = weights.cumsum()
        target = self._random.random() * cumulative[-1]
        index = int(cumulative.searchsorted(target, side="right"))
        # the rest weighs nothing, and rounding may point there
        last = int(cumulative.searchsorted(cumulative[-1]))
        return int(ids[min(index, last)])


class _Chunk(Protocol):
    @property
    def choice(self) -> object | None: ...


def choices_of(chunks: Iterable[_Chunk]) -> list[Choice | BeamChoice]:
    """The sampler states of the chunks that want a next token, in their order."""
    return [chunk.choice for chunk in chunks if isinstance(chunk.choice, Choice | BeamChoice)]


def choose(
    logits: NDArray[np.float32], choices: Sequence[Choice | BeamChoice], suppressed: Sequence[int] = ()
) -> list[Any]:
    """One next token for each row of logits float32 [n, vocab], which are overwritten; one list of next beams for all rows of a search.

    Ties of greedy rows go to the lowest id. `suppressed` ids are never chosen.
    """
    if len(choices) != len(logits):
        raise Bug("the rows of logits are not those of the sampler states")
    drawing = [choice for choice in choices if isinstance(choice, Choice)]
    if len(drawing) == len(choices):
        return _draw(logits, drawing, suppressed)
    outcomes: list[Any] = []
    row = 0
    while row < len(choices):
        choice = choices[row]
        if isinstance(choice, BeamChoice):
            end = row + choice.beams
            outcomes.append(choice.advance(logits[row:end], suppressed))
        else:
            end = row + 1
            outcomes += _draw(logits[row:end], [choice], suppressed)
        row = end
    return outcomes


def _draw(logits: NDArray[np.float32], choices: Sequence[Choice], suppressed: Sequence[int]) -> list[int]:
    if suppressed:
        logits[:, list(suppressed)] = -np.inf
    tokens: list[int] = logits.argmax(axis=-1).tolist()
    for row, choice in enumerate(choices):
        if not choice.plain:
            tokens[row] = choice.draw(logits[row])
    return tokens


def candidates(
    logits: NDArray[np.float32], sampling: Sampling
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Token ids that may be drawn, rising, and their weights (probabilities up to a common factor), float64."""
    ids = _top_k(logits, sampling.top_k) if 0 < sampling.top_k < len(logits) else np.arange(len(logits))
    scores = logits[ids].astype(np.float64) / sampling.temperature
    weights = np.exp(scores - scores.max())
    if sampling.top_p < 1.0:
        kept = _top_p(weights, sampling.top_p)
        ids, weights = ids[kept], weights[kept]
    if sampling.min_p > 0.0:
        kept = np.flatnonzero(weights >= sampling.min_p * weights.max())
        ids, weights = ids[kept], weights[kept]
    return ids, weights


def _top_k(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Ids of the `count` best tokens, and of all that tie with the last of them, as transformers keeps them."""
    place = len(logits) - count
    return np.flatnonzero(logits >= np.partition(logits, place)[place])


def _top_p(weights: NDArray[np.float64], top_p: float) -> NDArray[np.int64]:
    """Indices, rising, of the fewest best tokens whose mass reaches `top_p`; of equal weights the higher indices stay.

    Values are sorted, not indices, and at first only the most likely ones: at 50,000 tokens 0.5 ms instead of 7.
    """
    mass = top_p * weights.sum()
    likely = weights if len(weights) <= _LIKELY else np.partition(weights, -_LIKELY)[-_LIKELY:]
    falling = np.sort(likely if likely.sum() >= mass else weights)[::-1]
    count = min(int(falling.cumsum().searchsorted(mass)) + 1, len(falling))
    kept = np.flatnonzero(weights >= falling[count - 1])
    ties = np.flatnonzero(weights[kept] == falling[count - 1])
    return np.delete(kept, ties[: len(kept) - count])
