"""The one operator that all attention becomes: com.microsoft.GroupQueryAttention of ONNX Runtime. The export process.

Its inputs and attributes are in ONNX Runtime's docs/ContribOperators.md; `query_seqlens` is there since 1.32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

HEAD_STEP = 8
"""Head sizes must be multiples of this."""

KeyValue = tuple[Tensor, Tensor]
"""float32 [B, kv_heads, capacity, D] twice."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How one layer makes its attention scores."""

    scale: float
    softcap: float = 0.0
    """c * tanh(score / c) instead of the score (Gemma2); 0: as it is."""
    window: int | None = None
    """A token sees itself and this many less one before it; None: all."""
    bias: Tensor | None = None
    """Added to the scaled scores: float32 [B, H, S, total] (T5)."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Only what is used: an attribute's default is the operator's business."""
        attributes: dict[str, Any] = {"scale": self.scale}
        if self.softcap:
            attributes["softcap"] = self.softcap
        if self.window is not None:
            attributes["local_window_size"] = self.window
        return attributes


def emit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scores: Scores,
    *,
    heads: int,
    kv_heads: int,
    causal: bool,
    seqlens: Tensor,
    total: Tensor,
    past: KeyValue | None = None,
    rotary: tuple[Tensor, Tensor] | None = None,
    query_seqlens: Tensor | None = None,
) -> list[Tensor]:
    """[B, S, H*D] to the attended rows, and the written cache where `query_seqlens` are given.

    Without `query_seqlens` nothing is written and the present outputs are left out. `rotary`: cosines and sines, float32
    [positions, D/2] each; the operator turns queries and keys by the positions that follow from the lengths.
    """
    inputs = [query, key, value, *(past or (None, None)), seqlens, total, *(rotary or (None, None))]
    inputs += [None, scores.bias, None, None, None, None, None, query_seqlens]
    while inputs[-1] is None:
        inputs.pop()
    attributes = scores.attributes | {"num_heads": heads, "kv_num_heads": kv_heads, "causal": int(causal)}
    if rotary is not None:
        attributes["do_rotary"] = 1
    shapes, dtypes = [tuple(query.shape)], [query.dtype]
    if query_seqlens is not None:
        assert past is not None
        shapes, dtypes = [*shapes, *(tuple(part.shape) for part in past)], dtypes * 3
    emitted = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        inputs,
        attributes,
        dtypes=dtypes,
        shapes=shapes,
        version=1,
    )
    return list(emitted)
