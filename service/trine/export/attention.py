"""The one attention function that every architecture is exported with. The export process.

transformers looks its attention up in a registry. `attend` is registered there under `NAME`; while a graph is traced it emits
ONNX Runtime's GroupQueryAttention (on CUDA PagedAttention) instead of computing anything, in the form that the current `Attention`
asks for.

All token-wise layers see packed tokens: T tokens of all sequences side by side, [1, T, hidden]. Only GroupQueryAttention sees a batch:
rows are gathered into [B, S, hidden] (`pad`), attended, and gathered back (`unpad`). Sizes: B sequences, S their padded width,
T tokens, H heads, D head size.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trine.export import group_query_attention, paged_attention
from trine.export.group_query_attention import KeyValue, Scores
from trine.export.paged_attention import Pages

NAME = "trine_packed"
"""Not known to transformers' mask registry, so that transformers builds no mask: the operator takes lengths instead."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How T packed tokens become B padded rows and come back."""

    pad: Tensor
    """int64 [B*S]: the token at each place of the padded form; any valid token where there is none."""
    unpad: Tensor
    """int64 [T]: the place in [B*S] of each token."""
    lens: Tensor
    """int32 [B]: tokens of each sequence in this run."""

    def to_rows(self, states: Tensor) -> Tensor:
        """[1, H, T, D] to [B, S, H*D]. `index_select`, since `states[pad]` would become a slower GatherND."""
        tokens = states.transpose(1, 2).reshape(states.shape[2], -1)
        return tokens.index_select(0, self.pad).reshape(self.lens.shape[0], -1, tokens.shape[1])

    def to_tokens(self, rows: Tensor, heads: int) -> Tensor:
        """[B, S, H*D] to [1, T, H, D], the layout that transformers expects of an attention function."""
        width = rows.shape[2]
        return rows.reshape(-1, width).index_select(0, self.unpad).reshape(1, -1, heads, width // heads)


class Attention(ABC):
    """What attention means in the graph that is being traced."""

    @abstractmethod
    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """[1, H, T, D] three times to [1, T, H, D]. `module` is the attention layer that calls."""


@dataclass(frozen=True, slots=True)
class BidirectionalAttention(Attention):
    """An encoder's: every token of a sequence sees all of its tokens; nothing is kept."""

    packing: Packing
    total: Tensor
    """int32 []: S."""

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        to_rows = self.packing.to_rows
        (rows,) = group_query_attention.emit(
            to_rows(query),
            to_rows(key),
            to_rows(value),
            scores,
            heads=query.shape[1],
            kv_heads=key.shape[1],
            causal=False,
            seqlens=self.packing.lens - 1,
            total=self.total,
        )
        return self.packing.to_tokens(rows, query.shape[1])


@dataclass(frozen=True, slots=True)
class CachedAttention(Attention):
    """A decoder's: this step's keys and values are written into the cache in place, and its tokens see the cache."""

    packing: Packing
    seqlens: Tensor
    """int32 [B]: tokens of each sequence after this step, less one."""
    total: Tensor
    """int32 []: at least the largest of those lengths, and at least S."""
    past: list[KeyValue]
    """For each layer."""
    rotary: tuple[Tensor, Tensor] | None = None
    """The tables that the operator turns queries and keys by; None: they come turned, or positions enter elsewhere."""
    present: list[Tensor] = field(default_factory=list)
    """Collected while tracing: what the operator writes, keys and values of each layer in turn."""

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        to_rows = self.packing.to_rows
        rows, *written = group_query_attention.emit(
            to_rows(query),
            to_rows(key),
            to_rows(value),
            scores,
            heads=query.shape[1],
            kv_heads=key.shape[1],
            causal=True,
            seqlens=self.seqlens,
            total=self.total,
            past=self.past[module.layer_idx],
            rotary=self.rotary,
            query_seqlens=self.packing.lens,
        )
        self.present.extend(written)
        return self.packing.to_tokens(rows, query.shape[1])


@dataclass(frozen=True, slots=True)
class PagedAttention(Attention):
    """A decoder's on CUDA: as `CachedAttention`, on packed tokens and pages."""

    pages: Pages
    past: list[KeyValue]
    """For each layer [pages, tokens, kv_heads, D] twice."""
    rotary: tuple[Tensor, Tensor] | None = None
    """As CachedAttention's, in the type of the queries."""
    present: list[Tensor] = field(default_factory=list)
    """As CachedAttention's."""

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        heads, tokens, width = query.shape[1:]
        attended, *written = paged_attention.emit(
            query.transpose(1, 2).reshape(tokens, -1),
            key.transpose(1, 2).reshape(tokens, -1),
            value.transpose(1, 2).reshape(tokens, -1),
            scores,
            heads=heads,
            kv_heads=key.shape[1],
            pages=self.pages,
            past=self.past[module.layer_idx],
            rotary=self.rotary,
        )
        self.present.extend(written)
        return attended.reshape(1, tokens, heads, width)


@dataclass(frozen=True, slots=True)
class SourceAttention(Attention):
    """The encoder graph of an encoder-decoder: the encoder attends; of the decoder only the keys and values that its
    cross-attention layers make of the source are wanted, and the exporter drops the rest as dead code."""

    encoder: BidirectionalAttention
    projected: list[Tensor] = field(default_factory=list)
    """Collected while tracing: [H, T, D], keys and values of each decoder layer in turn."""

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        if not module.is_decoder:
            return self.encoder.attend(module, query, key, value, scores)
        if not module.is_causal:
            self.projected.extend((key[0], value[0]))
        return query.transpose(1, 2)


@dataclass(frozen=True, slots=True)
class TargetAttention(Attention):
    """The decoder graph of an encoder-decoder: self-attention in the cache, cross-attention to stored keys and values."""

    decoder: CachedAttention
    cross: list[KeyValue]
    """For each layer float32 [B, H, max_source, D] twice, as the encoder graph projected them."""
    source_seqlens: Tensor
    """int32 [B]: tokens of each source, less one."""
    source_total: Tensor
    """int32 []: the largest of the sources' lengths."""

    def attend(self, module: Any, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        if module.is_causal:
            return self.decoder.attend(module, query, key, value, scores)
        rows = self.decoder.packing.to_rows(query)
        nothing_new = rows[:, :0]
        scores = replace(scores, bias=None)  # T5 passes zeros here: cross-attention has no relative positions
        (rows,) = group_query_attention.emit(
            rows,
            nothing_new,
            nothing_new,
            scores,
            heads=query.shape[1],
            kv_heads=query.shape[1],
            causal=False,
            seqlens=self.source_seqlens,
            total=self.source_total,
            past=self.cross[module.layer_idx],
        )
        return self.decoder.packing.to_tokens(rows, query.shape[1])


_traced: ContextVar[Attention] = ContextVar("traced")
"""The trace context: what `attend` emits. transformers calls `attend` by name, so there is no other way to hand it over."""


@contextlib.contextmanager
def traced_as(attention: Attention) -> Iterator[None]:
    """Let the registered function emit `attention` until the block is left."""
    token = _traced.set(attention)
    try:
        yield
    finally:
        _traced.reset(token)


@contextlib.contextmanager
def emitting(model: PreTrainedModel) -> Iterator[None]:
    """Let `model` call the registered function, in evaluation mode, until the block is left."""
    before = model.config._attn_implementation
    model.eval().set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: [1, H, T, D] three times to ([1, T, H, D], no weights)."""
    scale = options.get("scaling")
    scores = Scores(
        scale=query.shape[3] ** -0.5 if scale is None else float(scale),
        softcap=float(options.get("softcap") or 0.0),
        window=options.get("sliding_window"),
        bias=options.get("position_bias"),
    )
    return _traced.get().attend(module, query, key, value, scores), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
