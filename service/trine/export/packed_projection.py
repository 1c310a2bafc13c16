"""Makes one product of an encoder layer's three projections, and one gather of their three. The export process.

As traced:   x -> MatMul, Add -> Reshape -> Gather (pad) -> Reshape, three times -> GroupQueryAttention(query, key, value)
Rewritten:   x -> MatMul, Add -> Reshape -> Gather (pad) -> Reshape, once        -> GroupQueryAttention(packed)

The operator takes queries, keys and values side by side in one tensor. The products' sums are the same; what is saved is two
passes over the tokens and two parallel parts a layer: 7 to 10 % of a BERT's processor time (docs/decisions/0002). Attention that
keeps a cache is left as it is, and so is a layer whose projections are not of this form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trine.export import external_data

_QKV = 3
_PAST = slice(3, 5)


def fuse(path: Path) -> None:
    """Rewrite the graph at `path`, its weights beside it, where it has such layers."""
    if not _Fusing(onnx.load(str(path), load_external_data=False).graph).found:
        return
    model = onnx.load(str(path))
    rewrite(model)
    external_data.save(model, path)


def rewrite(model: onnx.ModelProto) -> None:
    """Rewrite every layer of that form in place, and drop what is not read any more."""
    graph = model.graph
    nodes = _Fusing(graph).rewritten()
    read = {value.name for value in graph.output} | {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(kept)


@dataclass(frozen=True, slots=True)
class _Projection:
    """One of a layer's three, from the tokens to the padded rows."""

    rows: str
    weight: str
    bias: str
    """"" where there is none."""
    pad: str
    batch: tuple[str, ...]
    """The parts of the padded shape but the last: [B, S]."""
    width: str
    """The last part's name."""


class _Fusing:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._readers = Counter(name for node in graph.node for name in node.input)
        self._readers.update(value.name for value in graph.output)
        self.found = {
            node.output[0]: parts for node in graph.node if (parts := self._projections(node)) is not None
        }
        """The layers that can be fused: output of their attention to their projections."""

    def rewritten(self) -> list[onnx.NodeProto]:
        """The nodes of the new graph, in an order that can be run; those that nothing reads any more are left out."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            parts = self.found.get(node.output[0])
            if parts is not None:
                nodes += self._packed(parts, node.output[0])
                node.input[0], node.input[1], node.input[2] = nodes[-1].output[0], "", ""
            nodes.append(node)
        read = {value.name for value in self._graph.output}
        kept = []
        for node in reversed(nodes):
            if not read.isdisjoint(node.output):
                kept.append(node)
                read.update(node.input)
        return [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]

    # --- finding -----------------------------------------------------------------------------------------------------

    def _projections(self, node: onnx.NodeProto) -> list[_Projection] | None:
        if node.op_type != "GroupQueryAttention" or any(node.input[_PAST]) or not all(node.input[:_QKV]):
            return None
        parts = [part for name in node.input[:_QKV] if (part := self._projection(name)) is not None]
        if len(parts) < _QKV or len({(p.rows, p.pad, p.batch, p.width, bool(p.bias)) for p in parts}) > 1:
            return None
        return parts

    def _projection(self, name: str) -> _Projection | None:
        """What makes the padded rows `name`; None where it is anything else."""
        padded = self._made_for_one(name)
        shape = self._made_by.get(padded.input[1]) if padded and padded.op_type == "Reshape" else None
        gather = self._made_for_one(padded.input[0]) if padded else None
        if shape is None or shape.op_type != "Concat" or gather is None or gather.op_type != "Gather":
            return None
        source = self._made_for_one(gather.input[0])
        while source is not None and source.op_type == "Reshape":
            source = self._made_for_one(source.input[0])
        bias = ""
        if source is not None and source.op_type == "Add" and source.input[1] in self._weights:
            bias, source = source.input[1], self._made_for_one(source.input[0])
        if source is None or source.op_type != "MatMul" or source.input[1] not in self._weights:
            return None
        *batch, width = shape.input
        return _Projection(source.input[0], source.input[1], bias, gather.input[1], tuple(batch), width)

    def _made_for_one(self, name: str) -> onnx.NodeProto | None:
        """The node that makes `name`, where nothing but the layer reads it: what others read would be computed twice."""
        return self._made_by.get(name) if self._readers[name] == 1 else None

    # --- making ------------------------------------------------------------------------------------------------------

    def _packed(self, parts: Sequence[_Projection], name: str) -> list[onnx.NodeProto]:
        """From the tokens [1, T, h] to queries, keys and values side by side [B, S, 3 * h]."""
        first = parts[0]
        weight = self._side_by_side([part.weight for part in parts])
        width = self._weights[weight].dims[1]
        flat = self._longs(f"packed.flat.{width}", -1, width)
        product, biased = f"{name}.qkv", f"{name}.qkv.biased" if first.bias else f"{name}.qkv"
        nodes = [_node("MatMul", [first.rows, weight], product)]
        if first.bias:
            nodes.append(_node("Add", [product, self._side_by_side([part.bias for part in parts])], biased))
        shape = [*first.batch, self._longs(f"packed.width.{width}", width)]
        return [
            *nodes,
            _node("Reshape", [biased, flat], f"{name}.tokens"),
            _node("Gather", [f"{name}.tokens", first.pad], f"{name}.padded", axis=0),
            _node("Concat", shape, f"{name}.shape", axis=0),
            _node("Reshape", [f"{name}.padded", f"{name}.shape"], f"{name}.rows"),
        ]

    def _side_by_side(self, names: Sequence[str]) -> str:
        """The tensors joined along their last axis; what several layers share (ALBERT) is stored once."""
        name = "+".join(names)
        if name not in self._weights:
            joined = np.concatenate([numpy_helper.to_array(self._weights[part]) for part in names], axis=-1)
            self._store(numpy_helper.from_array(joined, name))
        return name

    def _longs(self, name: str, *values: int) -> str:
        if name not in self._weights:
            self._store(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _store(self, tensor: onnx.TensorProto) -> None:
        self._graph.initializer.append(tensor)
        self._weights[tensor.name] = tensor


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], name=output, **attributes)
