"""DeBERTa's disentangled attention (https://arxiv.org/abs/2006.03654, section 3.1) on packed tokens. The export process.

A token at i looks at one at j with the score (q_i . k_j + q_i . K[i-j] + k_j . Q[i-j]) * scale: contents with contents, and each
content with the distance. K and Q are a layer's own projections of one table of distances; they depend on no text, so they are
made here and stored. transformers multiplies each token with all distances that there are and looks up S*S of the products. Here a
token is multiplied with the distances that the batch has, and the sum of both products is the bias of the packed operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.deberta_v2 import modeling_deberta_v2

from trine.export import attention
from trine.export.attention import Packing


@dataclass(frozen=True, slots=True)
class Projected:
    """The distances as one layer compares contents with them, scaled: float32 [H, buckets, D]; None where it does not."""

    keys: Tensor | None
    queries: Tensor | None


def buckets(encoder: Any) -> Tensor:
    """int64 [2*most + 1]: the row of the encoder's table for each distance from -most to most; farther ones have the last one's.

    By transformers' own function, and not in the graph: it rounds logarithms up, and two libraries need not agree on which side of a
    whole number one falls.
    """
    if not encoder.relative_attention:
        return torch.zeros(1, dtype=torch.int64)
    most = encoder.max_relative_positions
    span = len(encoder.rel_embeddings.weight) // 2
    distances = torch.arange(-most, most + 1)
    if encoder.position_buckets > 0:
        found = modeling_deberta_v2.make_log_bucket_position(distances, encoder.position_buckets, most)
        distances = found.long()
    return (distances + span).clamp(0, 2 * span - 1)


@torch.no_grad()  # type: ignore[untyped-decorator]
def projected(module: Any, table: Tensor | None) -> Projected:
    """`table` [buckets, hidden] as the attention layer `module` projects it; None: it knows no distances."""
    keys = queries = None
    if table is not None and "c2p" in module.pos_att_type:
        project = module.key_proj if module.share_att_key else module.pos_key_proj
        keys = _heads(module, project(table[None]))[0] * _scale(module)
    if table is not None and "p2c" in module.pos_att_type:
        project = module.query_proj if module.share_att_key else module.pos_query_proj
        queries = _heads(module, project(table[None]))[0] * _scale(module)
    return Projected(keys, queries)


def rows(table: Tensor, places: Tensor) -> Tensor:
    """int64 [2S-1]: what `table` of `buckets` has for the distances S-1, S-2, ... -(S-1). `places`: int64 [S], 0, 1, 2 ..."""
    most = table.shape[0] // 2
    distances = torch.cat([places.flip(0), -places[1:]])
    return table.index_select(0, distances.clamp(-most, most) + most)


def attending(
    module: Any, distances: Projected, rows: Tensor, packing: Packing
) -> Callable[..., tuple[Tensor, None]]:
    """What takes the place of `module.forward`: [1, T, hidden] to [1, T, H*D]."""

    def forward(states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        projections = (module.query_proj, module.key_proj, module.value_proj)
        query, key, value = (_heads(module, project(states)) for project in projections)
        bias = _bias(query, key, distances, rows, packing)
        options = {"scaling": _scale(module), "position_bias": bias}
        attended, no_weights = attention.attend(module, query, key, value, None, **options)
        return attended.flatten(2), no_weights

    return forward


def _heads(module: Any, states: Tensor) -> Tensor:
    """[1, n, H*D] to [1, H, n, D]."""
    return states.unflatten(2, (module.num_attention_heads, -1)).transpose(1, 2)


def _scale(module: Any) -> float:
    compared = 1 + ("c2p" in module.pos_att_type) + ("p2c" in module.pos_att_type)
    return float((module.attention_head_size * compared) ** -0.5)


def _bias(query: Tensor, key: Tensor, distances: Projected, rows: Tensor, packing: Packing) -> Tensor | None:
    """[B, H, S, S] of queries and keys [1, H, T, D]."""
    bias = None
    if distances.keys is not None:
        bias = _by_distance(_padded(query, packing), distances.keys.index_select(1, rows))
    if distances.queries is not None:
        by_key = _by_distance(_padded(key, packing), distances.queries.index_select(1, rows.flip(0)))
        bias = by_key.transpose(2, 3) if bias is None else bias + by_key.transpose(2, 3)
    return bias


def _padded(states: Tensor, packing: Packing) -> Tensor:
    """[1, H, T, D] to [B, H, S, D]."""
    return packing.to_rows(states).unflatten(2, (states.shape[1], -1)).transpose(1, 2)


def _by_distance(states: Tensor, distances: Tensor) -> Tensor:
    """[B, H, S, S]: at (i, j) the product of states [B, H, S, D] at i with distances [H, 2S-1, D] at S-1 - i + j.

    What row i of all products has to give begins one place before that of the row above. Read on in rows that are shorter by one, all
    begin at one place (https://arxiv.org/abs/1901.02860, appendix B): two copies instead of S*S look-ups.
    """
    size = (distances.shape[1] + 1) // 2
    products = (states @ distances.transpose(1, 2)).flatten(2)
    shifted = products[:, :, size - 1 : size - 1 + size * (2 * size - 2)]
    return shifted.unflatten(2, (size, 2 * size - 2))[..., :size]
