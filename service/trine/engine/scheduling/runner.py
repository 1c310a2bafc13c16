"""What a scheduler asks of the room that computes: the contract with engine.runtime, which declares its equal.

Ids in, ids out; arrays and the cache are the runner's own. Engine process, its only thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Outcome = int | list[tuple[int, int]]
"""The next token; or of a beam search its next beams, as `Sequence.branch` takes them."""


@dataclass(slots=True)
class Chunk:
    """New tokens of one sequence in one step."""

    row: int
    """Row of the cache; the active rows are always 0 to N-1."""
    tokens: Sequence[int]
    """At least 1."""
    past: int
    """Its tokens that are in the cache already."""
    choice: object | None
    """The sampler's state when a next token is wanted; None while the prompt goes on."""


class Encoder(Protocol):
    """Runs sequences that need one pass only."""

    def run(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None, /
    ) -> Iterable[Any]:
        """One opaque output for each sequence, in their order; `types` has each one's token types, None for all 0."""


class Runner(Protocol):
    """Runs generations step by step over a cache of rows."""

    @property
    def slots(self) -> int:
        """Rows of the cache."""

    @property
    def max_chunk(self) -> int:
        """Most tokens of one row in one step; 1 for the encoder-decoder family."""

    def insert(self, prompts: Sequence[tuple[int, Sequence[int]]], /) -> None:
        """Encode the sources of (row, source ids) into their rows, equal ones once. Encoder-decoder family only."""

    def step(self, chunks: Sequence[Any], /) -> list[Outcome]:
        """Run the chunks; the outcomes of those with a choice, in their order.

        The beams of a search are side by side and in their order, have the same choice, and one outcome.
        """

    def move(self, source: int, target: int, /) -> None:
        """Copy one row of all caches over another."""

    def fork(self, source: int, target: int, /) -> None:
        """Copy what was written in one row over another that has the same source."""


class PrefixRunner(Runner, Protocol):
    """One that can keep the keys and values of whole chunks beyond their sequence: the decoder family's."""

    def block_bytes(self, tokens: int, /) -> int:
        """Memory of one block of `tokens` tokens."""

    def save(self, block: int, row: int, begin: int, tokens: int, /) -> None:
        """Keep a copy of `tokens` cached tokens of a row, from `begin` on, as the block of this number."""

    def restore(self, blocks: Sequence[int], row: int, /) -> None:
        """Copy blocks to the beginning of a row, one after the other."""
