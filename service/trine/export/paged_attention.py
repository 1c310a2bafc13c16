"""The operator that a decoder's attention becomes on CUDA: com.microsoft.PagedAttention of ONNX Runtime. The export process.

Its inputs and attributes are in ONNX Runtime's docs/ContribOperators.md. It takes packed tokens as they are; float16 and bfloat16 only,
on CUDA only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trine.errors import UnsupportedArchitecture
from trine.export.group_query_attention import KeyValue, Scores


@dataclass(frozen=True, slots=True)
class Pages:
    """Which tokens there are in this step, and where their sequences lie in the cache. All int32."""

    cumulative: Tensor
    """[B + 1]: where each sequence begins in the packed tokens, and their end."""
    past_lengths: Tensor
    """[B]: tokens of each sequence before this step."""
    block_table: Tensor
    """[B, pages]: the pages of each sequence, in order."""
    bounds: Tensor
    """[3], on the host: at least the longest new part; at least the longest sequence after the step; at most that one.

    Without it every node would wait for the device to tell the lengths.
    """


def emit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scores: Scores,
    *,
    heads: int,
    kv_heads: int,
    pages: Pages,
    past: KeyValue,
    rotary: tuple[Tensor, Tensor] | None = None,
) -> list[Tensor]:
    """[T, H*D] and twice [T, kv_heads*D] to the attended tokens [T, H*D] and the written pages, keys and values.

    `past`: the pages, [pages, tokens, kv_heads, D] twice. `rotary`: cosines and sines in the query's type, [positions, D/2] each.
    Raises UnsupportedArchitecture for scores with a bias, which the operator lacks.
    """
    if scores.bias is not None:
        raise UnsupportedArchitecture("attention with a bias is not supported on CUDA")
    inputs = [query, key, value, *past, pages.cumulative, pages.past_lengths, pages.block_table]
    inputs += [*(rotary or (None, None)), None, None, None, None, None, None, pages.bounds]
    attributes = scores.attributes | {"num_heads": heads, "kv_num_heads": kv_heads}
    if rotary is not None:
        attributes["do_rotary"] = 1
    emitted = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::PagedAttention",
        inputs,
        attributes,
        dtypes=[query.dtype] * 3,
        shapes=[tuple(query.shape), *(tuple(part.shape) for part in past)],
        version=1,
    )
    return list(emitted)
