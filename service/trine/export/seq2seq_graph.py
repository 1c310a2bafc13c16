"""The two graphs of the encoder-decoder family: sources to cross-attention keys and values, and one decoding step.

The export process. Both are the whole model traced with a part of it idle, so that no module of any architecture has to be
known by name: the exporter drops what no output depends on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from trine.artifact import CacheLayout
from trine.export import attention, graph, norms, positions
from trine.export.attention import (
    BidirectionalAttention,
    CachedAttention,
    Packing,
    SourceAttention,
    TargetAttention,
)
from trine.export.group_query_attention import KeyValue
from trine.export.positions import Places

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"


class _PackedSources(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of B sources to the keys and values [H, T, D] that each decoder layer attends to."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("buckets", positions.distance_buckets(model, "encoder"))

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        kv_pos: Tensor,
        pad: Tensor,
        unpad: Tensor,
        lens: Tensor,
        total: Tensor,
    ) -> list[Tensor]:
        packing = Packing(pad, unpad, lens)
        source = SourceAttention(BidirectionalAttention(packing, total))
        places = {
            "encoder": Places(position_ids, kv_pos, packing, self.buckets),
            "decoder": Places(position_ids[:, :1], kv_pos, packing),
        }
        with attention.traced_as(source), positions.given(self.model, places):
            self.model(input_ids=input_ids, decoder_input_ids=input_ids[:, :1], use_cache=False)
        return source.projected


class _PackedStep(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of this step to the logits of the wanted rows [W, vocab], and the written cache."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("buckets", positions.distance_buckets(model, "decoder"))

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        kv_pos: Tensor,
        pad: Tensor,
        unpad: Tensor,
        lens: Tensor,
        seqlens: Tensor,
        total: Tensor,
        src_seqlens: Tensor,
        src_total: Tensor,
        out_rows: Tensor,
        past: list[KeyValue],
        cross: list[KeyValue],
    ) -> tuple[Tensor, list[Tensor]]:
        packing = Packing(pad, unpad, lens)
        cached = CachedAttention(packing, seqlens, total, past)
        target = TargetAttention(cached, cross, src_seqlens, src_total)
        places = {"decoder": Places(position_ids, kv_pos, packing, self.buckets)}
        idle = BaseModelOutput(last_hidden_state=torch.zeros(1, 1, self.model.config.d_model))
        with (
            attention.traced_as(target),
            positions.given(self.model, places),
            graph.wanted_rows(self.model, out_rows),
        ):
            logits = self.model(decoder_input_ids=input_ids, encoder_outputs=idle, use_cache=False).logits
        return logits, cached.present


def export(model: PreTrainedModel, cache: CacheLayout, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx."""
    with attention.emitting(model), norms.fused(model):
        _export_encoder(model, cache.layers, folder)
        _export_decoder(model, cache, folder)


def _export_encoder(model: PreTrainedModel, layers: int, folder: Path) -> None:
    two_sources = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3, 1, 2)[None],
        "position_ids": graph.longs(0, 1, 2, 0, 1, 2, 3, 4)[None],
        "kv_pos": torch.arange(5),
        "pad": graph.longs(0, 1, 2, 0, 0, 3, 4, 5, 6, 7),
        "unpad": graph.longs(0, 1, 2, 5, 6, 7, 8, 9),
        "lens": graph.ints(3, 5),
        "total": graph.scalar(5),
    }
    tokens, length = graph.TOKENS, graph.LENGTH
    graph.write(
        _PackedSources(model),
        arguments=list(two_sources.values()),
        dynamic=(tokens, tokens, length, length, length, length, None),
        inputs=list(two_sources),
        outputs=graph.cache_names("cross", layers),
        path=folder / ENCODER,
    )


def _export_decoder(model: PreTrainedModel, cache: CacheLayout, folder: Path) -> None:
    five_tokens_and_one = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3)[None],
        "position_ids": graph.longs(0, 1, 2, 3, 4, 9)[None],
        "kv_pos": torch.arange(10),
        "pad": graph.longs(0, 1, 2, 3, 4, 5, 5, 5, 5, 5),
        "unpad": graph.longs(0, 1, 2, 3, 4, 5),
        "lens": graph.ints(5, 1),
        "seqlens": graph.ints(4, 9),
        "total": graph.scalar(10),
        "src_seqlens": graph.ints(6, 8),
        "src_total": graph.scalar(9),
        "out_rows": graph.longs(4, 5),
    }
    caches = [graph.example_cache(cache.layers, cache.kv_heads, size, cache.head_dim) for size in (64, 48)]
    tokens, length = graph.TOKENS, graph.LENGTH
    dynamic = (
        *(tokens, tokens, length, length, length, length, length, None, length, None, length),
        *([(graph.CACHE, graph.CACHE)] * cache.layers for _ in caches),
    )
    inputs = [*five_tokens_and_one]
    inputs += [name for prefix in ("past", "cross") for name in graph.cache_names(prefix, cache.layers)]
    graph.write(
        _PackedStep(model),
        arguments=[*five_tokens_and_one.values(), *caches],
        dynamic=dynamic,
        inputs=inputs,
        outputs=["logits", *graph.cache_names("present", cache.layers)],
        path=folder / DECODER,
    )
