"""Positions from graph inputs, which packed tokens cannot derive from their order. The export process.

Of the encoder-decoder family: position tables (BART and its kin, Marian, Pegasus, M2M100), and T5's bias by distance. The decoder
family takes `position_ids` as an argument.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trine.export.attention import Packing


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens of one side stand."""

    tokens: Tensor
    """int64 [1, T]: each token's position in its own sequence."""
    keys: Tensor
    """int64 [total]: 0, 1, 2 ..., the positions that attention can look at."""
    packing: Packing
    buckets: Tensor | None = None
    """`distance_buckets` of this side; None: it has no bias by distance, or is idle."""


def distance_buckets(model: PreTrainedModel, side: str) -> Tensor | None:
    """T5's bucket of each distance from -max to max, int64 [2*max + 1]; None where `side` has no such bias.

    A table and not operations in the graph: they take logarithms that are whole numbers at a bucket's edge, and two libraries
    need not agree on which side of the edge a rounded one falls.
    """
    found = [
        module
        for module in getattr(model.base_model, side).modules()
        if hasattr(module, "relative_attention_bias")
    ]
    if not found:
        return None
    attention: Any = found[0]
    most = attention.relative_attention_max_distance  # all that is farther falls into the last bucket
    buckets: Tensor = attention._relative_position_bucket(
        torch.arange(-most, most + 1),
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=most,
    )
    return buckets


@contextlib.contextmanager
def given(model: PreTrainedModel, places: Mapping[str, Places]) -> Iterator[None]:
    """Let each side of `model` ("encoder", "decoder") take its positions from `places` until the block is left."""
    patched = []
    for side, place in places.items():
        for module in getattr(model.base_model, side).modules():
            name, method = _replacement(module, place)
            if name:
                # an attribute of the instance hides the class's method, and deleting it brings the method back
                module.__dict__[name] = method
                patched.append((module, name))
    try:
        yield
    finally:
        for module, name in patched:
            del module.__dict__[name]


def _replacement(module: torch.nn.Module, places: Places) -> tuple[str, Callable[..., Tensor] | None]:
    """The method of `module` that asks for positions, and what takes its place; "" where there is none."""
    if type(module).__name__.endswith("PositionalEmbedding"):
        return "forward", _lookup(module, places)
    if hasattr(module, "relative_attention_bias"):
        return "compute_bias", _bias_by_distance(module, places)
    return "", None


def _lookup(embedding: Any, places: Places) -> Callable[..., Tensor]:
    """Rows of a position table, [1, T, hidden]. M2M100's is a buffer, whose positions begin behind the padding id."""
    if hasattr(embedding, "weights"):
        table, offset = embedding.weights, embedding.padding_idx + 1
    else:
        table, offset = embedding.weight, getattr(embedding, "offset", 0)

    def forward(*_: Any, **__: Any) -> Tensor:
        return torch.nn.functional.embedding(places.tokens + offset, table)

    return forward


def _bias_by_distance(attention: Any, places: Places) -> Callable[..., Tensor]:
    """T5's bias, [B, H, S, total]: each row has its own query positions (https://arxiv.org/abs/1910.10683, section 2.1)."""

    def compute_bias(*_: Any, **__: Any) -> Tensor:
        if places.buckets is None:
            return torch.zeros(())
        most = places.buckets.shape[0] // 2
        queries = places.packing.to_rows(places.tokens[:, None, :, None])
        distances = (places.keys[None, None] - queries).clamp(-most, most)
        by_distance = attention.relative_attention_bias(places.buckets)
        return torch.nn.functional.embedding(distances + most, by_distance).permute(0, 3, 1, 2)

    return compute_bias
