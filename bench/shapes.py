"""What is measured: shapes of checkpoints, pieces of work, and the made-up words that prompts are written in. Pure, any process."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxz", "aeiouy"
SYLLABLES = [first + second for first in _CONSONANTS for second in _VOWELS]
Tokens = Sequence[Sequence[int]]
"""Token ids of several prompts."""


class Generates(Protocol):
    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """A checkpoint with random weights. Its measures are those of the real architecture."""

    name: str
    architecture: str
    """gpt2, marian or bert."""
    layers: int
    """Of the decoder, and of the encoder where there is one."""
    width: int
    heads: int
    feed_forward: int
    vocab_size: int
    positions: int
    end_tokens: int
    """Special tokens that a tokenized prompt ends with; they count as input."""
    cache_bytes: int
    """What 32 rows of the server's cache take, with room to spare; 0: it has none."""


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("gpt2-124m", "gpt2", 12, 768, 12, 3072, 50257, 1024, 0, 4 << 30),
        Shape("marian-6-6", "marian", 6, 512, 8, 2048, 32000, 512, 1, 2 << 30),
        Shape("gpt2-tiny", "gpt2", 2, 64, 4, 128, 2000, 320, 0, 256 << 20),
        Shape("marian-tiny", "marian", 2, 64, 4, 128, 2000, 320, 1, 256 << 20),
        Shape("gpt2-thin", "gpt2", 1, 64, 4, 128, 50257, 1024, 0, 256 << 20),
        Shape("bert-base", "bert", 12, 768, 12, 3072, 30522, 512, 1, 0),
        Shape("minilm-6", "bert", 6, 384, 12, 1536, 30522, 512, 1, 0),
        Shape("bert-tiny", "bert", 2, 64, 4, 128, 2000, 512, 1, 0),
    )
}


@dataclass(frozen=True, slots=True)
class Work:
    """A closed batch: all prompts at once, no end token, greedy or beam search."""

    shape: str
    batch: int
    input_tokens: int
    """Of each prompt, special tokens included."""
    new_tokens: int
    beams: int = 1
    """1 is greedy search."""

    def __str__(self) -> str:
        search = f", beam {self.beams}" if self.beams > 1 else ""
        return f"{self.input_tokens} in, {self.new_tokens} out, batch {self.batch}{search}"

    @property
    def units(self) -> int:
        """Tokens that are answered: of beams only the best."""
        return self.batch * self.new_tokens

    def ask(self, candidate: Generates, prompts: Tokens) -> list[list[int]]:
        return candidate.generate(prompts, self.new_tokens, self.beams)


def words() -> Iterator[str]:
    """Made-up words of two syllables, then of three, in a fixed order; each is one token of both tokenizers."""
    for length in (2, 3):
        yield from map("".join, itertools.product(SYLLABLES, repeat=length))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What prompts are made of."""

    words: dict[int, str]
    """Token id to the word that it is."""
    end_ids: list[int]
    """Special tokens that a tokenized prompt ends with."""
    begin_ids: list[int] = field(default_factory=list)
    """Special tokens that a tokenized prompt begins with."""

    def prompts(self, lengths: Sequence[int], seed: str) -> list[list[int]]:
        """Token ids of prompts of the given lengths, special tokens included; the same for the same seed."""
        draw, words = random.Random(seed), list(self.words)
        special = len(self.begin_ids) + len(self.end_ids)
        return [[*self.begin_ids, *draw.choices(words, k=n - special), *self.end_ids] for n in lengths]

    def text(self, prompt: Sequence[int]) -> str:
        """The text that is tokenized to this prompt."""
        return "".join(f" {self.words[token]}" for token in prompt if token in self.words)
