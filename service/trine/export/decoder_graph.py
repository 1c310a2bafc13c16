"""The graph of the decoder family: one step of all sequences, prompt chunks beside single tokens. The export process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trine.artifact import CacheLayout
from trine.export import attention, checkpoint, graph, norms, rotary
from trine.export.attention import CachedAttention, Packing
from trine.export.group_query_attention import KeyValue

MODEL = "model.onnx"


class _PackedDecoder(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of this step to the logits of the wanted rows [W, vocab], and the written cache."""

    def __init__(self, model: PreTrainedModel, tables: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.model = model
        self.rotary = tables is not None
        if tables is not None:  # buffers become initializers of the graph
            self.register_buffer("cos", tables[0])
            self.register_buffer("sin", tables[1])

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        pad: Tensor,
        unpad: Tensor,
        lens: Tensor,
        seqlens: Tensor,
        total: Tensor,
        out_rows: Tensor,
        past: list[KeyValue],
    ) -> tuple[Tensor, list[Tensor]]:
        tables = (self.cos, self.sin) if self.rotary else None
        cached = CachedAttention(Packing(pad, unpad, lens), seqlens, total, past, tables)
        with attention.traced_as(cached), graph.wanted_rows(self.model, out_rows):
            logits = self.model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits
        return logits, cached.present


def export(model: PreTrainedModel, cache: CacheLayout, folder: Path) -> None:
    """Write model.onnx; past.* and present.* are meant to be bound to the same memory."""
    five_tokens_and_one = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3)[None],
        "position_ids": graph.longs(0, 1, 2, 3, 4, 9)[None],
        "pad": graph.longs(0, 1, 2, 3, 4, 5, 5, 5, 5, 5),
        "unpad": graph.longs(0, 1, 2, 3, 4, 5),
        "lens": graph.ints(5, 1),
        "seqlens": graph.ints(4, 9),
        "total": graph.scalar(10),
        "out_rows": graph.longs(4, 5),
    }
    past = graph.example_cache(cache.layers, cache.kv_heads, 64, cache.head_dim)
    tokens, length = graph.TOKENS, graph.LENGTH
    dynamic = (
        *(tokens, tokens, length, length, length, length, None, length),
        [(graph.CACHE, graph.CACHE)] * cache.layers,
    )
    tables = rotary.tables(model, checkpoint.context_length(model.config), cache.head_dim)
    turned_inside = rotary.left_to_the_operator(model) if tables else contextlib.nullcontext()
    with attention.emitting(model), linear_layers(model), norms.fused(model), turned_inside:
        graph.write(
            _PackedDecoder(model, tables),
            arguments=[*five_tokens_and_one.values(), past],
            dynamic=dynamic,
            inputs=[*five_tokens_and_one, *graph.cache_names("past", cache.layers)],
            outputs=["logits", *graph.cache_names("present", cache.layers)],
            path=folder / MODEL,
        )


@contextlib.contextmanager
def linear_layers(model: PreTrainedModel) -> Iterator[None]:
    """GPT-2 stores its linear layers transposed (Conv1D), which exports as Gemm; quantizers and fusions know MatMul only.

    The originals come back afterwards: the reference of the parity gate is the checkpoint as transformers runs it.
    """
    replaced = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, Conv1D)
    ]
    for parent, name, conv in replaced:
        setattr(parent, name, _linear(conv))
    try:
        yield
    finally:
        for parent, name, conv in replaced:
            setattr(parent, name, conv)


def _linear(conv: Conv1D) -> torch.nn.Linear:
    inputs, outputs = conv.weight.shape
    linear = torch.nn.Linear(inputs, outputs)
    linear.weight = torch.nn.Parameter(conv.weight.detach().t().contiguous())
    linear.bias = torch.nn.Parameter(conv.bias.detach())
    return linear
