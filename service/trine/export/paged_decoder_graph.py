"""The decoder family's graphs for CUDA: one step of all sequences on a paged cache, and a copy of tokens. The export process.

As decoder_graph.py's, but in half precision from the embeddings to the last layer (the logits come out as float32), and packed all
through: PagedAttention needs no padded form.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor
from transformers import PreTrainedModel

from trine.artifact import CacheLayout, Precision
from trine.export import attention, checkpoint, graph, norms, rotary
from trine.export.attention import PagedAttention
from trine.export.decoder_graph import MODEL, linear_layers
from trine.export.group_query_attention import KeyValue
from trine.export.paged_attention import Pages

COPY = "copy.onnx"
DTYPES = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}

_PAGES = {0: graph.DYNAMIC, 1: graph.DYNAMIC}
"""Dynamic shape of [pages, tokens, heads, head_dim], and of [B, pages]."""


class _PagedDecoder(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of this step to the logits of the wanted rows [W, vocab], float32, and the written pages."""

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
        cumulative: Tensor,
        past_lengths: Tensor,
        block_table: Tensor,
        bounds: Tensor,
        out_rows: Tensor,
        past: list[KeyValue],
    ) -> tuple[Tensor, list[Tensor]]:
        tables = (self.cos, self.sin) if self.rotary else None
        paged = PagedAttention(Pages(cumulative, past_lengths, block_table, bounds), past, tables)
        with attention.traced_as(paged), graph.wanted_rows(self.model, out_rows):
            logits = self.model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits
        return logits.float(), paged.present


def export(model: PreTrainedModel, cache: CacheLayout, dtype: torch.dtype, folder: Path) -> None:
    """Write model.onnx in `dtype`, whose past.* and present.* are to be bound to the same memory, and copy.onnx.

    `model` stays as it is: the parity gate's reference is the checkpoint in float32.
    """
    five_tokens_and_one = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3)[None],
        "position_ids": graph.longs(0, 1, 2, 3, 4, 9)[None],
        "cumulative": graph.ints(0, 5, 6),
        "past_lengths": graph.ints(0, 9),
        "block_table": graph.ints(0, 1, 2, 3).reshape(2, 2),
        "bounds": graph.ints(5, 10, 10),
        "out_rows": graph.longs(4, 5),
    }
    pages = (4, 16, cache.kv_heads, cache.head_dim)
    past = [(torch.randn(pages).to(dtype), torch.randn(pages).to(dtype)) for _ in range(cache.layers)]
    tokens, length = graph.TOKENS, graph.LENGTH
    dynamic = (*(tokens, tokens, length, length, _PAGES, None, length), [(_PAGES, _PAGES)] * cache.layers)
    tables = rotary.tables(model, checkpoint.context_length(model.config), cache.head_dim)
    turned_inside = rotary.left_to_the_operator(model) if tables else contextlib.nullcontext()
    half = copy.deepcopy(model).to(dtype)
    with attention.emitting(half), linear_layers(half), norms.fused(half), turned_inside:
        graph.write(
            _PagedDecoder(half, tables and (tables[0].to(dtype), tables[1].to(dtype))),
            arguments=[*five_tokens_and_one.values(), past],
            dynamic=dynamic,
            inputs=[*five_tokens_and_one, *graph.cache_names("past", cache.layers)],
            outputs=["logits", *graph.cache_names("present", cache.layers)],
            path=folder / MODEL,
        )
    onnx.save(_copies(cache), str(folder / COPY))


def _copies(cache: CacheLayout) -> onnx.ModelProto:
    """from.* to to.*, int64 [words] each: what the engine binds them to is copied on the device."""
    names = graph.cache_names("", cache.layers)
    words = {
        way: [helper.make_tensor_value_info(way + name, TensorProto.INT64, ["words"]) for name in names]
        for way in ("from", "to")
    }
    nodes = [helper.make_node("Identity", [f"from{name}"], [f"to{name}"]) for name in names]
    opset = helper.make_opsetid("", graph.OPSET)
    made = helper.make_graph(nodes, "copy", words["from"], words["to"])
    return helper.make_model(made, opset_imports=[opset], ir_version=10)
