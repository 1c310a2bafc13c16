"""What encoders are asked: batches of equal and of real lengths. Pure, any process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench.encoder.lengths import Lengths
from bench.shapes import SHAPES, Tokens

CLASSIFIER = "classifier.npz"
"""Beside the checkpoint, for libraries that end at the pooler: `weight` float32 [labels, hidden] and `bias` [labels]."""


class Encodes(Protocol):
    def encode(self, sequences: Tokens) -> list[list[float]]: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Lengths of a batch."""

    batch: int
    length: int = 0
    """Of all; 0: drawn from real ones."""
    documents: int = 0
    """How many of those are long documents."""

    def lengths(self, real: Lengths, most: int, seed: str) -> list[int]:
        if self.length:
            return [self.length] * self.batch
        return real.draw(self.batch, self.documents, most, seed)


LIBRARY = {"ragged": Kind(16, documents=2), "16x64": Kind(16, 64), "8x128": Kind(8, 128)}
STREAM = "stream"
IN_FLIGHT = 64
"""Texts of one stream that the server has in hand at once (its default): no batch can be larger."""
KINDS = LIBRARY | {STREAM: Kind(256, 16)}


@dataclass(frozen=True, slots=True)
class EncoderWork:
    """One batch: token ids in, logits out."""

    shape: str
    kind: str

    def __str__(self) -> str:
        one = KINDS[self.kind]
        if one.length:
            return f"{one.batch} of {one.length} tokens"
        return f"{one.batch} of real lengths, {one.documents} of them documents"

    @property
    def units(self) -> int:
        """Sequences."""
        return KINDS[self.kind].batch

    def lengths(self, real: Lengths, seed: str) -> list[int]:
        return KINDS[self.kind].lengths(real, SHAPES[self.shape].positions, f"{self.kind} {seed}")

    def ask(self, candidate: Encodes, sequences: Tokens) -> list[list[float]]:
        return candidate.encode(sequences)
