"""PagedAttention for the CPU, which has no kernel for it: the operator's documentation in PyTorch, put into a graph in its place.

So all that is around the operator runs here as it would on CUDA, in float32: the graph's wiring, the plans, the pages, the copies.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from trine.export import graph

_DOMAIN = "trine.tests"


class PagedAttention(torch.nn.Module):  # type: ignore[misc]
    """One node; its attributes and the page size are constants of the graph."""

    def __init__(self, attributes: dict[str, Any], page: int) -> None:
        super().__init__()
        self.attributes = attributes
        self.page = page

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_cache: Tensor,
        value_cache: Tensor,
        cumulative: Tensor,
        past: Tensor,
        table: Tensor,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads, kv_heads = self.attributes["num_heads"], self.attributes["kv_num_heads"]
        page = self.page
        tokens = torch.arange(query.shape[0])
        owner = (tokens[:, None] >= cumulative[None, 1:]).long().sum(1)
        place = past[owner] + tokens - cumulative[owner]
        query = query.reshape(query.shape[0], heads, -1)
        key = key.reshape(key.shape[0], kv_heads, -1)
        if self.attributes.get("do_rotary"):
            query, key = _turned(query, cos[place], sin[place]), _turned(key, cos[place], sin[place])
        slots = table[owner].gather(1, (place // page)[:, None])[:, 0] * page + place % page
        keys = key_cache.flatten(0, 1).index_copy(0, slots.long(), key)
        values = value_cache.flatten(0, 1).index_copy(0, slots.long(), value.reshape(key.shape))
        written = keys.reshape(key_cache.shape), values.reshape(value_cache.shape)
        seen_keys, seen_values = (part[table.long()].flatten(1, 2)[owner] for part in written)
        attended = self._attend(query, seen_keys, seen_values, place)
        return attended.flatten(1), *written

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, place: Tensor) -> Tensor:
        """[T, H, D] and twice [T, capacity, kv_heads, D] to [T, H, D]."""
        group = self.attributes["num_heads"] // self.attributes["kv_num_heads"]
        keys, values = keys.repeat_interleave(group, 2), values.repeat_interleave(group, 2)
        scores = torch.einsum("thd,tchd->thc", query, keys) * self.attributes["scale"]
        if cap := self.attributes.get("softcap"):
            scores = cap * torch.tanh(scores / cap)
        column = torch.arange(keys.shape[1])[None]
        hidden = column > place[:, None]
        if window := self.attributes.get("local_window_size"):
            hidden = hidden | (column <= place[:, None] - window)
        weights = torch.softmax(scores.masked_fill(hidden[:, None], float("-inf")), -1)
        return torch.einsum("thc,tchd->thd", weights, values)


def _turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[1]
    first, second = states[..., :half], states[..., half:]
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def replace(path: Path, page: int) -> int:
    """Rewrite the graph: each PagedAttention becomes a function of standard operators. Returns how many there were."""
    model = onnx.load(str(path), load_external_data=False)
    nodes = [node for node in model.graph.node if node.op_type == "PagedAttention"]
    functions: dict[str, onnx.FunctionProto] = {}
    for node in nodes:
        attributes = {part.name: helper.get_attribute_value(part) for part in node.attribute}
        function = functions.get(str(attributes)) or _function(
            f"Paged{len(functions)}", attributes, _head_dim(model, node), page
        )
        functions[str(attributes)] = function
        given = [name for name in node.input if name][: len(function.input)]
        del node.input[:], node.attribute[:]
        node.input.extend(given)
        node.op_type, node.domain = function.name, _DOMAIN
    model.functions.extend(functions.values())
    model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(model, str(path))
    return len(nodes)


def _head_dim(model: onnx.ModelProto, node: onnx.NodeProto) -> int:
    (cache,) = [value for value in model.graph.input if value.name == node.input[3]]
    return int(cache.type.tensor_type.shape.dim[3].dim_value)


def _function(name: str, attributes: dict[str, Any], head_dim: int, page: int) -> onnx.FunctionProto:
    kv_heads = attributes["kv_num_heads"]
    integers = ([0, 2, 5], [3, 0], [[0, 1, 2], [3, 4, 5]])
    arguments = [
        torch.randn(5, attributes["num_heads"] * head_dim),
        *(torch.randn(5, kv_heads * head_dim) for _ in range(2)),
        *(torch.randn(6, page, kv_heads, head_dim) for _ in range(2)),
        *(torch.tensor(values, dtype=torch.int32) for values in integers),
        *(torch.randn(48, head_dim // 2) for _ in range(2)),
    ]
    one, table = {0: graph.DYNAMIC}, {0: graph.DYNAMIC, 1: graph.DYNAMIC}
    inputs = [
        "query",
        "key",
        "value",
        "key_cache",
        "value_cache",
        "cumulative",
        "past",
        "table",
        "cos",
        "sin",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "function.onnx"
        dynamic = [table if name == "table" else one for name in inputs]
        graph.write(
            PagedAttention(attributes, page), arguments, dynamic, inputs, ["attended", "k", "v"], path
        )
        body = onnx.load(str(path)).graph
    constants = [
        helper.make_node(
            "Constant", [], [part.name], value=numpy_helper.from_array(numpy_helper.to_array(part))
        )
        for part in body.initializer
    ]
    return helper.make_function(
        _DOMAIN,
        name,
        inputs[: 10 if attributes.get("do_rotary") else 8],
        ["attended", "k", "v"],
        [*constants, *body.node],
        [helper.make_opsetid("", graph.OPSET)],
    )
