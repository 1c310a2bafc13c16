"""What changes one sequence's logits before its next token is chosen. Engine process, step thread.

Transformers' logits processors (SequenceBias, RepetitionPenalty, NoRepeatNGram, MinNewTokensLength), in its order and in float32 as
there, and the presence and frequency penalties of OpenAI's interface, which vLLM has too. Each row is worked on alone, as vectors
over the vocabulary; what depends on the tokens before is kept up to date token by token, so that a step costs no pass over the
text, only over its distinct tokens where they are penalized. The beams of a search share what is kept of the text that they
continue; what each has written is looked through anew, also as vectors.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from trine.sampling import Sampling

Logits = NDArray[np.float32]


class Penalties:
    """The processors of one sequence, or of all beams of one. It follows `context`, the sequence's own list, as that grows."""

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
        """Tokens of the context that the four below have taken in."""
        self._seen: set[int] = set()
        self._seen_ids = np.empty(0, np.int64)
        """The same."""
        self._written: Counter[int] = Counter()
        self._followers: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        """The first tokens of each n-gram to those that ended it."""

    @property
    def active(self) -> bool:
        """Whether `apply` can change anything."""
        return self._sampling.processes or (self._min_new_tokens > 0 and bool(self._end_ids))

    def apply(self, logits: Logits, beam: Sequence[int] = ()) -> Logits:
        """Logits float32 [vocab] as they are to be chosen from; the given ones stay as they are.

        `beam` is what one of several beams has written after the context.
        """
        self._follow()
        logits = logits.copy()
        if self._biased.size:
            logits[self._biased] += self._biases
        if self._sampling.repetition_penalty != 1.0:
            self._penalize_repetition(logits, beam)
        if self._sampling.presence_penalty or self._sampling.frequency_penalty:
            self._penalize_written(logits, beam)
        if self._sampling.no_repeat_ngram_size:
            logits[self._ngram_ends(beam)] = -np.inf
        if len(self._context) + len(beam) - self._begin < self._min_new_tokens:
            logits[self._end_ids] = -np.inf
        return logits

    def _penalize_repetition(self, logits: Logits, beam: Sequence[int]) -> None:
        ids = self._seen_ids
        if beam:  # an id that is there twice gets the same value twice
            ids = np.concatenate((ids, np.array(beam, np.int64)))
        scores, penalty = logits[ids], self._sampling.repetition_penalty
        logits[ids] = np.where(scores < 0, scores * penalty, scores / penalty)

    def _penalize_written(self, logits: Logits, beam: Sequence[int]) -> None:
        written = self._written
        if beam:
            written = written.copy()
            written.update(beam)
        ids = np.fromiter(written, np.int64, len(written))
        counts = np.fromiter(written.values(), np.float32, len(written))
        logits[ids] -= self._sampling.frequency_penalty * counts
        logits[ids] -= self._sampling.presence_penalty

    def _ngram_ends(self, beam: Sequence[int]) -> list[int]:
        """The tokens with which the next place would repeat an n-gram."""
        before = self._sampling.no_repeat_ngram_size - 1
        near = [*self._context[max(len(self._context) - before, 0) :], *beam]
        if len(near) < before:
            return []
        newest = near[len(near) - before :]
        ends = list(self._followers.get(tuple(newest), ()))
        return ends + _followers(newest, near) if beam else ends

    def _follow(self) -> None:
        if self._known == len(self._context):
            return
        size = self._sampling.no_repeat_ngram_size
        for place in range(self._known, len(self._context)):
            token = self._context[place]
            self._seen.add(token)
            if place >= self._begin:
                self._written[token] += 1
            if size and place + 1 >= size:
                self._followers[tuple(self._context[place + 1 - size : place])].add(token)
        self._known = len(self._context)
        if self._sampling.repetition_penalty != 1.0:
            self._seen_ids = np.fromiter(self._seen, np.int64, len(self._seen))


def _followers(newest: Sequence[int], text: Sequence[int]) -> list[int]:
    """The tokens that stand in the text after the same ones as `newest`, found by comparing backwards the places that are left."""
    tokens = np.array(text, np.int64)
    places = np.arange(len(newest), len(tokens))
    for back, token in enumerate(reversed(newest), 1):
        if not places.size:
            break
        places = places[tokens[places - back] == token]
    followers: list[int] = tokens[places].tolist()
    return followers
