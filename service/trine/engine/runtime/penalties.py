"""What changes one sequence's logits before its next token is chosen. Engine process, step thread.

Transformers' logits processors (SequenceBias, RepetitionPenalty, NoRepeatNGram, MinNewTokensLength), in its order and in float32 as
there, and the presence and frequency penalties of OpenAI's interface, which vLLM has too. Each row is worked on alone, as vectors
over the vocabulary; what depends on the tokens before is kept up to date token by token, so that a step costs no pass over the
text, only over its distinct tokens where they are penalized.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from trine.sampling import Sampling

Logits = NDArray[np.float32]


class Penalties:
    """One sequence's processors. It follows `context`, the sequence's own list, as that grows."""

    def __init__(
        self,
        sampling: Sampling,
        context: Sequence[int],
        begin: int,
        end_ids: Collection[int] = (),
        min_new_tokens: int = 0,
    ) -> None:
        """The first `begin` tokens of the context were read, those after them written."""
        self._sampling = sampling
        self._context = context
        self._begin = begin
        self._end_ids = list(end_ids)
        self._min_new_tokens = min_new_tokens
        self._biased = np.array(list(sampling.logit_bias), np.int64)
        self._biases = np.array(list(sampling.logit_bias.values()), np.float32)
        self._known = 0
        """Tokens of the context that the three below have taken in."""
        self._seen: set[int] = set()
        self._written: Counter[int] = Counter()
        self._followers: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        """The first tokens of each n-gram to those that ended it."""

    @property
    def active(self) -> bool:
        """Whether `apply` can change anything."""
        return self._sampling.processes or (self._min_new_tokens > 0 and bool(self._end_ids))

    def apply(self, logits: Logits) -> Logits:
        """Logits float32 [vocab] as they are to be chosen from; the given ones stay as they are."""
        self._follow()
        logits = logits.copy()
        if self._biased.size:
            logits[self._biased] += self._biases
        if self._sampling.repetition_penalty != 1.0:
            self._penalize_repetition(logits)
        if self._sampling.presence_penalty or self._sampling.frequency_penalty:
            self._penalize_written(logits)
        if self._sampling.no_repeat_ngram_size:
            logits[self._ngram_ends()] = -np.inf
        if len(self._context) - self._begin < self._min_new_tokens:
            logits[self._end_ids] = -np.inf
        return logits

    def _penalize_repetition(self, logits: Logits) -> None:
        ids = np.fromiter(self._seen, np.int64, len(self._seen))
        scores, penalty = logits[ids], self._sampling.repetition_penalty
        logits[ids] = np.where(scores < 0, scores * penalty, scores / penalty)

    def _penalize_written(self, logits: Logits) -> None:
        ids = np.fromiter(self._written, np.int64, len(self._written))
        counts = np.fromiter(self._written.values(), np.float32, len(self._written))
        logits[ids] -= self._sampling.frequency_penalty * counts
        logits[ids] -= self._sampling.presence_penalty

    def _ngram_ends(self) -> list[int]:
        """The tokens with which the next place would repeat an n-gram."""
        newest = len(self._context) + 1 - self._sampling.no_repeat_ngram_size
        return list(self._followers.get(tuple(self._context[newest:]), ())) if newest >= 0 else []

    def _follow(self) -> None:
        size = self._sampling.no_repeat_ngram_size
        for place in range(self._known, len(self._context)):
            token = self._context[place]
            self._seen.add(token)
            if place >= self._begin:
                self._written[token] += 1
            if size and place + 1 >= size:
                self._followers[tuple(self._context[place + 1 - size : place])].add(token)
        self._known = len(self._context)
