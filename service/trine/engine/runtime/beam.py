"""Beam search: which continuations of one sequence's beams go on, and which are finished texts. Engine process, step thread.

Transformers' `_beam_search` for one input, in float32 as there: scores are sums of log-softmax, changed by the sequence's processors,
over all tokens; the suppressed ones count in the normalization. Where transformers puts -1e9 for "none", there is none here: the two differ
only for texts that score below that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trine.engine.runtime.penalties import Penalties
from trine.sampling import BeamSearch, Sampling

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
_BLOCK = 32


@dataclass(slots=True, frozen=True)
class Hypothesis:
    """A finished text."""

    tokens: list[int]
    """Written, with the one that ended it. Without any where nothing could be chosen at all."""
    score: float
    """As sampling.BeamSearch defines it, rounded to float32."""
    finish: str
    """"stop", "length" or "stop_sequence", as of scheduling's Sequence."""

    @property
    def matched(self) -> int | None:
        """The stop token that ended it."""
        return self.tokens[-1] if self.finish == "stop_sequence" else None


_Candidate = tuple[int, int, float]
"""Index of the beam that goes on, its next token, and the score then."""


@dataclass(slots=True, frozen=True)
class _Beam:
    written: list[int]
    score: float
    """Sum of the log-probabilities, a float32's value."""


class BeamChoice:
    """One sequence's sampler state when it is searched: the beams that go on, best first, and the texts that are finished.

    At first there is one beam, which has nothing written yet.
    """

    def __init__(
        self,
        search: BeamSearch,
        sampling: Sampling,
        *,
        read: Sequence[int],
        limit: int,
        eos_ids: Collection[int] = (),
        stop_ids: Collection[int] = (),
        forced: Mapping[int, int] | None = None,
        min_new_tokens: int = 0,
    ) -> None:
        """`read` is what the decoder begins with; the others are as of scheduling's Sequence."""
        self.hypotheses: list[Hypothesis] = []
        """The best finished texts, best first, at most one for each beam."""
        self._search = search
        self._limit = limit
        self._eos_ids = frozenset(eos_ids)
        self._end_ids = self._eos_ids | frozenset(stop_ids)
        self._forced = forced or {}
        self._penalties = Penalties(sampling, list(read), len(read), self._end_ids, min_new_tokens)
        self._beams = [_Beam([], 0.0)]

    @property
    def n_best(self) -> list[Hypothesis]:
        """As many of them as were asked for."""
        return self.hypotheses[: self._search.n_best]

    @property
    def beams(self) -> int:
        """How many rows of logits it wants."""
        return len(self._beams)

    def advance(self, logits: Floats, suppressed: Sequence[int]) -> list[tuple[int, int]]:
        """The beams after one more token, best first, each as the index of the beam that it continues and its token.

        `logits` float32 [beams, vocab] are overwritten; `suppressed` ids are never written. Empty when the search is over, which
        without a hypothesis means that the logits were no numbers.
        """
        forced = self._forced.get(len(self._beams[0].written))
        # of logits that are no numbers, and of scores beyond float32
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            candidates = self._candidates(logits, suppressed, forced)
            if not candidates:
                self._keep_running(logits)
            going = self._select(candidates, forced)
            if not going or self._over(going[0][1]):
                return []
        self._beams = [beam for _, beam in going]
        return [(parent, beam.written[-1]) for parent, beam in going]

    def _select(self, candidates: Iterable[_Candidate], forced: int | None) -> list[tuple[int, _Beam]]:
        """The beams that go on, each with the index of the one that it continues; a text that is finished is kept.

        Only among the best candidates, as many as there are beams, a finished one counts; the others are there to fill its place.
        """
        width = self._search.beams
        going: list[tuple[int, _Beam]] = []
        for rank, (parent, token, score) in enumerate(candidates):
            if rank >= width and len(going) == width:
                break
            beam = _Beam([*self._beams[parent].written, token], score)
            finish = self._finish(beam, forced)
            if not finish and len(going) < width:
                going.append((parent, beam))
            elif finish and rank < width:
                self._keep(Hypothesis(beam.written, self._normalized(beam), finish))
        return going

    def _candidates(self, logits: Floats, suppressed: Sequence[int], forced: int | None) -> list[_Candidate]:
        """Best first: enough for a full width of beams that go on."""
        if forced is not None:
            return [(index, forced, beam.score) for index, beam in enumerate(self._beams)]
        count = self._search.beams + len(self._end_ids)
        found = []
        for index, beam in enumerate(self._beams):
            tokens, scores = self._best(beam, logits[index], suppressed, count)
            sums = (scores + np.float32(beam.score)).tolist()
            found += [(index, token, score) for token, score in zip(tokens.tolist(), sums, strict=True)]
        return sorted(filter(_possible, found), key=lambda candidate: -candidate[2])

    def _best(self, beam: _Beam, logits: Floats, suppressed: Sequence[int], count: int) -> tuple[Ids, Floats]:
        """The `count` best next tokens of a beam and their log-probabilities."""
        best = logits.max()
        total = np.log(np.exp(logits - best).sum())
        if not self._penalties.active:
            logits[list(suppressed)] = -np.inf
            tokens = top(logits, count)
            return tokens, (logits[tokens] - best) - total
        scores = self._penalties.apply((logits - best) - total, beam.written)
        scores[list(suppressed)] = -np.inf
        tokens = top(scores, count)
        return tokens, scores[tokens]

    def _finish(self, beam: _Beam, forced: int | None) -> str:
        token = beam.written[-1]
        if forced is None and token in self._end_ids:
            return "stop" if token in self._eos_ids else "stop_sequence"
        return "length" if len(beam.written) >= self._limit else ""

    def _keep_running(self, logits: Floats) -> None:
        """Nothing is left to choose: the beams are as long as they can be, except those whose logits were no numbers."""
        for beam, row in zip(self._beams, logits, strict=True):
            if np.isfinite(row.max()):
                self._keep(Hypothesis(beam.written, self._normalized(beam), "length"))

    def _keep(self, hypothesis: Hypothesis) -> None:
        """Of equals the earlier one stands first."""
        self.hypotheses.append(hypothesis)
        self.hypotheses.sort(key=lambda one: -one.score)
        del self.hypotheses[self._search.beams :]

    def _over(self, best: _Beam) -> bool:
        """Whether no beam that goes on is worth waiting for, `best` being the best of them."""
        search = self._search
        if len(self.hypotheses) < search.beams:
            return False
        if search.early_stopping == "first":
            return True
        to_the_limit = search.early_stopping == "never" and search.length_penalty > 0
        hoped_for = self._normalized(best, self._limit if to_the_limit else None)
        return not hoped_for > self.hypotheses[-1].score

    def _normalized(self, beam: _Beam, length: int | None = None) -> float:
        """The score that it has as a text of `length` tokens; None: of its own, where none counts as one."""
        divisor = (length or len(beam.written) or 1) ** self._search.length_penalty
        return float(np.float32(beam.score) / np.float32(divisor))


def _possible(candidate: _Candidate) -> bool:
    """Suppressed tokens are minus infinity, and nonsense is NaN."""
    return math.isfinite(candidate[2])


def top(scores: Floats, count: int) -> Ids:
    """Ids of the `count` best of float32 [vocab], best first, of equals the lowest. Not for rows with NaN.

    Only those are sorted that reach the `count`-th best of the maxima of disjoint blocks: at 32,000 tokens a tenth of a partition.
    """
    blocks = len(scores) // _BLOCK
    if blocks < count:
        return np.argsort(-scores, kind="stable")[:count]
    maxima = scores[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    ids = np.flatnonzero(scores >= np.partition(maxima, blocks - count)[blocks - count])
    return ids[np.argsort(-scores[ids], kind="stable")[:count]]
