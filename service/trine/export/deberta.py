"""What DeBERTa, versions 2 and 3, needs to be traced on packed tokens: transformers routes none of it through its registry.

The export process. Attention is disentangled_attention.py's. Version 2 in its large sizes has a convolution over neighboring tokens,
which in a packed batch may be another sequence's. And each model multiplies its embeddings with a mask, which packed tokens lack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad
from transformers import DebertaV2PreTrainedModel, PreTrainedModel
from transformers.activations import ACT2FN

from trine.errors import UnsupportedArchitecture
from trine.export import disentangled_attention
from trine.export.attention import Packing
from trine.export.disentangled_attention import Projected


@dataclass(frozen=True, slots=True)
class Distances:
    """What a model knows of them, before any text."""

    buckets: Tensor
    """As disentangled_attention.buckets has them."""
    layers: tuple[Projected, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tokens of a run stand."""

    tokens: Tensor
    """int64 [1, T]: each token's position in its own sequence."""
    keys: Tensor
    """int64 [S]: 0, 1, 2 ..."""
    packing: Packing


def distances(model: PreTrainedModel) -> Distances | None:
    """None for another architecture. Raises UnsupportedArchitecture for a convolution that is not of whole tokens."""
    if not isinstance(model, DebertaV2PreTrainedModel):
        return None
    encoder: Any = model.base_model.encoder
    if encoder.conv is not None and encoder.conv.conv.groups != 1:
        raise UnsupportedArchitecture("a convolution in groups is not supported")
    table = encoder.get_rel_embedding()
    layers = [disentangled_attention.projected(layer.attention.self, table) for layer in encoder.layer]
    return Distances(disentangled_attention.buckets(encoder), tuple(layers))


@contextlib.contextmanager
def packed(model: PreTrainedModel, known: Distances | None, places: Places) -> Iterator[None]:
    """Let `model` take packed tokens until the block is left; `known` is what `distances` told of it."""
    replaced = [] if known is None else _replacements(model.base_model, known, places)
    for module, name, method in replaced:
        # an attribute of the instance hides the class's method, and deleting it brings the method back
        module.__dict__[name] = method
    try:
        yield
    finally:
        for module, name, _ in replaced:
            del module.__dict__[name]


def _replacements(base: Any, known: Distances, places: Places) -> list[tuple[Any, str, Callable[..., Any]]]:
    """(module, name of its method, what takes the method's place)."""
    encoder, embeddings = base.encoder, base.embeddings
    rows = disentangled_attention.rows(known.buckets, places.keys)
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (embeddings, "forward", _without_mask(embeddings)),
        (encoder, "get_attention_mask", lambda mask: mask),
        (encoder, "get_rel_pos", lambda *_: None),
    ]
    for layer, own in zip(encoder.layer, known.layers, strict=True):
        module = layer.attention.self
        method = disentangled_attention.attending(module, own, rows, places.packing)
        replaced.append((module, "forward", method))
    if encoder.conv is not None:
        replaced.append((encoder.conv, "forward", _convolving(encoder.conv, places.tokens)))
    return replaced


def _without_mask(embeddings: Any) -> Callable[..., Tensor]:
    method = embeddings.forward

    def forward(**arguments: Any) -> Tensor:
        return method(**arguments | {"mask": None})

    return forward


def _convolving(module: Any, positions: Tensor) -> Callable[..., Tensor]:
    """As a product with each token and its neighbors side by side; beyond the ends of a sequence there are zeros."""
    weight = module.conv.weight.permute(0, 2, 1).flatten(1)
    half = module.conv.kernel_size[0] // 2

    def forward(states: Tensor, residual: Tensor, _: Tensor) -> Tensor:
        neighbors = [_neighbors(states, positions, offset) for offset in range(-half, half + 1)]
        mixed = linear(torch.cat(neighbors, dim=2), weight, module.conv.bias)
        return module.LayerNorm(residual + ACT2FN[module.conv_act](mixed))

    return forward


def _neighbors(states: Tensor, positions: Tensor, offset: int) -> Tensor:
    """[1, T, hidden]: for each token the one `offset` places behind it, zeros where that is none of its sequence."""
    if offset <= 0:
        moved = pad(states, (0, 0, -offset, 0))[:, : states.shape[1]]
        return moved * (positions >= -offset)[..., None]
    moved = pad(states, (0, 0, 0, offset))[:, offset:]
    return moved * (pad(positions, (0, offset))[:, offset:] >= offset)[..., None]
