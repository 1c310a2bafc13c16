"""The two graphs of the encoder-decoder family: sources to cross-attention keys and values, and one decoding step.

The export process. Both are the whole model traced with a part of it idle, so that no module of any architecture has to be
known by name: the exporter drops what no output depends on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from trine.artifact import CacheLayout
from trine.export import attention, graph
from trine.export.attention import (
    BidirectionalAttention,
    CachedAttention,
    KeyValue,
    Packing,
    SourceAttention,
    TargetAttention,
)

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"


class _PackedSources(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of B sources to the keys and values [H, T, D] that each decoder layer attends to."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, pad: Tensor, unpad: Tensor, lens: Tensor, total: Tensor
    ) -> list[Tensor]:
        source = SourceAttention(BidirectionalAttention(Packing(pad, unpad, lens), total))
        positions = {"encoder": position_ids, "decoder": position_ids[:, :1]}
        with attention.traced_as(source), _positions(self.model, positions):
            self.model(input_ids=input_ids, decoder_input_ids=input_ids[:, :1], use_cache=False)
        return source.projected


class _PackedStep(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of this step to the logits of the wanted rows [W, vocab], and the written cache."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
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
        cached = CachedAttention(Packing(pad, unpad, lens), seqlens, total, past)
        target = TargetAttention(cached, cross, src_seqlens, src_total)
        idle = BaseModelOutput(last_hidden_state=torch.zeros(1, 1, self.model.config.d_model))
        with (
            attention.traced_as(target),
            _positions(self.model, {"decoder": position_ids}),
            graph.wanted_rows(self.model, out_rows),
        ):
            logits = self.model(decoder_input_ids=input_ids, encoder_outputs=idle, use_cache=False).logits
        return logits, cached.present


@contextlib.contextmanager
def _positions(model: PreTrainedModel, position_ids: Mapping[str, Tensor]) -> Iterator[None]:
    """Let each side's position embedding look up `position_ids[side]`, which packed tokens cannot derive from their order."""
    patched = []
    for side, positions in position_ids.items():
        embedding = getattr(model.base_model, side).embed_positions
        # an attribute of the instance hides the class's method, and deleting it brings the method back
        embedding.__dict__["forward"] = _lookup(embedding.weight, positions)
        patched.append(embedding)
    try:
        yield
    finally:
        for embedding in patched:
            del embedding.__dict__["forward"]


def _lookup(table: Tensor, positions: Tensor) -> Callable[..., Tensor]:
    def forward(*_: Any, **__: Any) -> Tensor:
        return torch.nn.functional.embedding(positions, table)

    return forward


def export(model: PreTrainedModel, cache: CacheLayout, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx."""
    with attention.emitting(model):
        _export_encoder(model, cache.layers, folder)
        _export_decoder(model, cache, folder)


def _export_encoder(model: PreTrainedModel, layers: int, folder: Path) -> None:
    two_sources = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3, 1, 2)[None],
        "position_ids": graph.longs(0, 1, 2, 0, 1, 2, 3, 4)[None],
        "pad": graph.longs(0, 1, 2, 0, 0, 3, 4, 5, 6, 7),
        "unpad": graph.longs(0, 1, 2, 5, 6, 7, 8, 9),
        "lens": graph.ints(3, 5),
        "total": graph.scalar(5),
    }
    tokens, length = graph.TOKENS, graph.LENGTH
    graph.write(
        _PackedSources(model),
        arguments=list(two_sources.values()),
        dynamic=(tokens, tokens, length, length, length, None),
        inputs=list(two_sources),
        outputs=graph.cache_names("cross", layers),
        path=folder / ENCODER,
    )


def _export_decoder(model: PreTrainedModel, cache: CacheLayout, folder: Path) -> None:
    five_tokens_and_one = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3)[None],
        "position_ids": graph.longs(0, 1, 2, 3, 4, 9)[None],
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
        *(tokens, tokens, length, length, length, length, None, length, None, length),
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
