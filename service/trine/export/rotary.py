"""Rotary position embeddings (RoPE, https://arxiv.org/abs/2104.09864) left to the attention operator. The export process.

Where the whole of a head is turned, GroupQueryAttention does it from two tables, by the positions that its lengths imply. Where
only a part is turned (GPT-NeoX, Phi), the operations that transformers traces stay in the graph, with `position_ids`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from trine.errors import UnsupportedArchitecture

_APPLY = "apply_rotary_pos_emb"
"""The function of this name in an architecture's module turns queries and keys."""
_LENGTH_DEPENDENT = ("dynamic", "longrope")
_HEAD_STEP = 16
"""The operator turns heads whose size is a multiple of this; others it takes turned already."""


def require_fixed_frequencies(config: PreTrainedConfig) -> None:
    """Raise UnsupportedArchitecture where frequencies depend on the length of the text: cached keys would have to be turned anew."""
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind in _LENGTH_DEPENDENT:
        raise UnsupportedArchitecture(f"rotary embeddings of the kind {kind} are not supported")


def tables(model: PreTrainedModel, positions: int, head_dim: int) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines, float32 [positions, head_dim/2] each; None where the operator cannot do it, or nothing is turned."""
    embedding = getattr(model.base_model, "rotary_emb", None)
    if embedding is None or head_dim % _HEAD_STEP:
        return None
    with torch.no_grad():
        cos, sin = embedding(torch.zeros(1, 1, 1), torch.arange(positions)[None])
    if cos.shape[2] != head_dim:
        return None
    half = head_dim // 2  # the second half repeats the first
    return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()


@contextlib.contextmanager
def left_to_the_operator(model: PreTrainedModel) -> Iterator[None]:
    """Let `model` hand queries and keys to its attention function as they are, until the block is left."""
    module = sys.modules[type(model).__module__]
    before = getattr(module, _APPLY)
    setattr(module, _APPLY, lambda query, key, *_, **__: (query, key))
    try:
        yield
    finally:
        setattr(module, _APPLY, before)
