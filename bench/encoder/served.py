"""The real server of the encoder family, called over gRPC: whole batches in one call, or texts on a stream in both directions.

The client is the bench's process; the processor time is that of the server and its engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.served import Server, Settings
from bench.shapes import Tokens
from trine.client import Classification


@dataclass(frozen=True, slots=True)
class WholeBatches(Settings):
    """An engine that runs a call's texts as one batch, as the bare runner does, however long that takes."""

    engine_max_batch_ms: int = 60_000
    engine_batch_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class Reachable(Settings):
    """A server that callers from several addresses reach; all else at its defaults."""

    host: str = "::"


class Called(Server):
    """Sequences go in as text, of words that are one token each, all in one call; logits come back."""

    def encode(self, sequences: Tokens) -> list[list[float]]:
        """Raises RuntimeError where the server read other counts of tokens."""
        texts = [self.vocabulary.text(sequence) for sequence in sequences]
        return self._logits(self.client.classify(self.checkpoint, texts, raw_scores=True), sequences)

    def _logits(self, answers: Sequence[Classification], sequences: Tokens) -> list[list[float]]:
        """In the order of the labels, as the graph has them."""
        counts = [answer.usage.input_tokens for answer in answers]
        if counts != [len(sequence) for sequence in sequences]:
            raise RuntimeError(f"{self.name} read other counts of tokens: {counts}")
        ordered = [sorted(answer.labels, key=lambda label: label.name) for answer in answers]
        return [[label.score for label in labels] for labels in ordered]


class Streaming(Called):
    """All texts on one stream in both directions, with as many in flight as the server allows."""

    def encode(self, sequences: Tokens) -> list[list[float]]:
        texts = (self.vocabulary.text(sequence) for sequence in sequences)
        found = {
            outcome.index: outcome.result
            for outcome in self.client.stream_classify(self.checkpoint, texts, raw_scores=True)
        }
        return self._logits([found[index] for index in range(len(sequences))], sequences)
