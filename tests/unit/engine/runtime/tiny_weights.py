"""Weights of the tiny models, and what they answer, computed in numpy from the whole sequence without cache or packing.

Each model: token and position embeddings, then layers of x + attention(x), then a linear head. Float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

VOCAB, LABELS = 23, 3
LAYERS, HEADS, KV_HEADS, HEAD_DIM = 2, 4, 2, 8
WIDTH = HEADS * HEAD_DIM
POSITIONS = 64


class Weights:
    """Random but fixed float32 matrices by name, scaled so that answers differ clearly."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self.arrays: dict[str, Array] = {}
        self.matrix("tokens", VOCAB, WIDTH)
        self.matrix("positions", POSITIONS, WIDTH)
        self.matrix("head", WIDTH, VOCAB)
        self.matrix("labels", WIDTH, LABELS)
        for layer in range(LAYERS):
            for part, kv in (("self", KV_HEADS), ("cross", HEADS), ("encoder", HEADS)):
                self.matrix(f"{part}.{layer}.q", WIDTH, WIDTH)
                self.matrix(f"{part}.{layer}.k", WIDTH, kv * HEAD_DIM)
                self.matrix(f"{part}.{layer}.v", WIDTH, kv * HEAD_DIM)
                self.matrix(f"{part}.{layer}.o", WIDTH, WIDTH)

    def matrix(self, name: str, rows: int, columns: int) -> None:
        self.arrays[name] = (self._random.standard_normal((rows, columns)) / np.sqrt(rows) * 1.5).astype(
            np.float32
        )

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name].astype(np.float64)


def embed(weights: Weights, tokens: Sequence[int], offset: int = 0) -> Array:
    return weights["tokens"][list(tokens)] + weights["positions"][offset : offset + len(tokens)]


def attention(weights: Weights, part: str, x: Array, source: Array, *, causal: bool) -> Array:
    """x [S, WIDTH] attends to source [T, WIDTH]."""
    q, k, v = (split(y @ weights[f"{part}.{n}"]) for n, y in (("q", x), ("k", source), ("v", source)))
    groups = HEADS // k.shape[0]
    scores = np.einsum("hsd,htd->hst", q, np.repeat(k, groups, 0)) / np.sqrt(HEAD_DIM)
    if causal:
        scores = np.where(np.tri(len(x), len(source), dtype=bool), scores, -np.inf)
    weight = np.exp(scores - scores.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    mixed = np.einsum("hst,htd->shd", weight, np.repeat(v, groups, 0)).reshape(len(x), WIDTH)
    return np.asarray(mixed @ weights[f"{part}.o"])


def split(x: Array) -> Array:
    """[T, heads * HEAD_DIM] to [heads, T, HEAD_DIM]."""
    return x.reshape(len(x), -1, HEAD_DIM).transpose(1, 0, 2)


def encoder_logits(weights: Weights, tokens: Sequence[int], offset: int = 0) -> Array:
    """[LABELS]"""
    return np.asarray(encoded(weights, tokens, offset)[0] @ weights["labels"])


def encoded(weights: Weights, tokens: Sequence[int], offset: int = 0) -> Array:
    x = embed(weights, tokens, offset)
    for layer in range(LAYERS):
        x = x + attention(weights, f"encoder.{layer}", x, x, causal=False)
    return x


def decoder_logits(weights: Weights, tokens: Sequence[int]) -> Array:
    """[len(tokens), VOCAB]"""
    x = embed(weights, tokens)
    for layer in range(LAYERS):
        x = x + attention(weights, f"self.{layer}", x, x, causal=True)
    return x @ weights["head"]


def seq2seq_logits(weights: Weights, source: Sequence[int], tokens: Sequence[int]) -> Array:
    """[len(tokens), VOCAB]"""
    x, memory = embed(weights, tokens), encoded(weights, source)
    for layer in range(LAYERS):
        x = x + attention(weights, f"self.{layer}", x, x, causal=True)
        x = x + attention(weights, f"cross.{layer}", x, memory, causal=False)
    return x @ weights["head"]
