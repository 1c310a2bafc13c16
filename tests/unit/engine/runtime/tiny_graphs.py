"""The tiny models as packed ONNX graphs with the inputs that the exporter's graphs have; no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.engine.runtime.tiny_weights import HEAD_DIM, HEADS, KV_HEADS, LAYERS, WIDTH, Weights
from trine.artifact import Task

_ATTENTION_INPUTS = 17  # query_seqlens is the last


class GraphBuilder:
    """Collects nodes; `node` returns the name of the first output."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, *shape: str | int) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, *shape: str | int) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def node(self, op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: object) -> str:
        outputs = outputs or [f"value{len(self._nodes)}"]
        domain = "com.microsoft" if op == "GroupQueryAttention" else ""
        self._nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def weight(self, name: str) -> str:
        constant = f"weight.{name}"
        self._initializers[constant] = numpy_helper.from_array(self._weights.arrays[name], constant)
        return constant

    def constant(self, *values: int) -> str:
        name = "const_" + "_".join(str(value) for value in values)
        self._initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def linear(self, x: str, weight: str, output: str | None = None) -> str:
        return self.node("MatMul", [x, self.weight(weight)], [output] if output else None)

    def save(self, path: Path) -> None:
        """Weights go to external data beside the graph, as in an artifact."""
        graph = helper.make_graph(
            self._nodes, "tiny", self._inputs, self._outputs, list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=256)

    # --- the packed pieces ---

    def index_inputs(self, *names: str) -> None:
        int32 = {"lens", "seqlens", "src_seqlens"}
        for name in names:
            if name in {"total", "src_total"}:
                self.input(name, TensorProto.INT32)
            elif name in {"input_ids", "position_ids"}:
                self.input(name, TensorProto.INT64, 1, "T")
            else:
                self.input(name, TensorProto.INT32 if name in int32 else TensorProto.INT64, name)

    def embed(self) -> str:
        """[T, WIDTH]"""
        tokens = self.node("Gather", [self.weight("tokens"), "input_ids"])
        positions = self.node("Gather", [self.weight("positions"), "position_ids"])
        return self.node("Reshape", [self.node("Add", [tokens, positions]), self.constant(-1, WIDTH)])

    def pad(self, x: str, width: int) -> str:
        """[T, width] to [B, S, width]."""
        shape = self.node(
            "Concat", [self.node("Shape", ["lens"]), self.constant(-1), self.constant(width)], axis=0
        )
        return self.node("Reshape", [self.node("Gather", [x, "pad"]), shape])

    def unpad(self, x: str) -> str:
        flat = self.node("Reshape", [x, self.constant(-1, WIDTH)])
        return self.node("Gather", [flat, "unpad"])

    def attend(
        self, qkv: list[str], kv_heads: int, inputs: dict[int, str], outputs: list[str], causal: int
    ) -> str:
        names = qkv + [inputs.get(place, "") for place in range(3, _ATTENTION_INPUTS)]
        while not names[-1]:
            names.pop()
        return self.node(
            "GroupQueryAttention", names, outputs, num_heads=HEADS, kv_num_heads=kv_heads, causal=causal
        )

    def residual(self, x: str, attended: str, part: str) -> str:
        return self.node("Add", [x, self.linear(self.unpad(attended), f"{part}.o")])

    def encoder_layer(self, x: str, layer: int) -> str:
        part = f"encoder.{layer}"
        qkv = [self.pad(self.linear(x, f"{part}.{n}"), WIDTH) for n in "qkv"]
        minus_one = self.node("Sub", ["lens", self.node("Cast", [self.constant(1)], to=TensorProto.INT32)])
        outputs = [f"{part}.out", f"{part}.pk", f"{part}.pv"]
        return self.residual(x, self.attend(qkv, HEADS, {5: minus_one, 6: "total"}, outputs, 0), part)

    def cached_layer(self, x: str, layer: int) -> str:
        part, past = f"self.{layer}", [f"past.{layer}.k", f"past.{layer}.v"]
        for name in past:
            self.input(name, TensorProto.FLOAT, "N", KV_HEADS, "C", HEAD_DIM)
            self.output(name.replace("past", "present"), "N", KV_HEADS, "C", HEAD_DIM)
        sizes = {"q": WIDTH, "k": KV_HEADS * HEAD_DIM, "v": KV_HEADS * HEAD_DIM}
        qkv = [self.pad(self.linear(x, f"{part}.{n}"), size) for n, size in sizes.items()]
        inputs = {3: past[0], 4: past[1], 5: "seqlens", 6: "total", 16: "lens"}
        outputs = [f"{part}.out", f"present.{layer}.k", f"present.{layer}.v"]
        return self.residual(x, self.attend(qkv, KV_HEADS, inputs, outputs, 1), part)

    def cross_layer(self, x: str, layer: int) -> str:
        part, cross = f"cross.{layer}", [f"cross.{layer}.k", f"cross.{layer}.v"]
        for name in cross:
            self.input(name, TensorProto.FLOAT, "N", HEADS, "M", HEAD_DIM)
        q = self.pad(self.linear(x, f"{part}.q"), WIDTH)
        none = self.node("Slice", [q, self.constant(0), self.constant(0), self.constant(1)])
        inputs = {3: cross[0], 4: cross[1], 5: "src_seqlens", 6: "src_total"}
        return self.residual(x, self.attend([q, none, none], HEADS, inputs, [f"{part}.out"], 0), part)

    def head(self, x: str, rows: str, weight: str, columns: int) -> None:
        self.linear(self.node("Gather", [x, rows]), weight, "logits")
        self.output("logits", "W", columns)


def encoder_graph(weights: Weights, path: Path, task: Task = Task.CLASSIFICATION) -> None:
    """With one row of logits for each sequence or for each token, or with the hidden states, as the task wants."""
    builder = GraphBuilder(weights)
    first = ("first",) if task is Task.CLASSIFICATION else ()
    builder.index_inputs("input_ids", "position_ids", "pad", "unpad", "lens", "total", *first)
    x = builder.embed()
    for layer in range(LAYERS):
        x = builder.encoder_layer(x, layer)
    labels = weights.arrays["labels"].shape[1]
    if task is Task.CLASSIFICATION:
        builder.head(x, "first", "labels", labels)
    elif task is Task.TOKEN_CLASSIFICATION:
        builder.linear(x, "labels", "logits")
        builder.output("logits", "T", labels)
    else:
        builder.node("Identity", [x], ["hidden"])
        builder.output("hidden", "T", WIDTH)
    builder.save(path)


def decoder_graph(weights: Weights, path: Path, *, cross: bool = False) -> None:
    """The decoder family's graph, or with `cross` the decoder of an encoder-decoder."""
    builder = GraphBuilder(weights)
    source = ("src_seqlens", "src_total") if cross else ()
    names = ("input_ids", "position_ids", "pad", "unpad", "lens", "seqlens", "total", "out_rows")
    builder.index_inputs(*names, *source)
    x = builder.embed()
    for layer in range(LAYERS):
        x = builder.cached_layer(x, layer)
        if cross:
            x = builder.cross_layer(x, layer)
    builder.head(x, "out_rows", "head", weights.arrays["head"].shape[1])
    builder.save(path)


def source_graph(weights: Weights, path: Path) -> None:
    """The encoder of an encoder-decoder: projected cross keys and values [HEADS, T, HEAD_DIM]."""
    builder = GraphBuilder(weights)
    builder.index_inputs("input_ids", "position_ids", "pad", "unpad", "lens", "total")
    x = builder.embed()
    for layer in range(LAYERS):
        x = builder.encoder_layer(x, layer)
    for layer in range(LAYERS):
        for half in "kv":
            split = builder.node(
                "Reshape",
                [builder.linear(x, f"cross.{layer}.{half}"), builder.constant(-1, HEADS, HEAD_DIM)],
            )
            builder.node("Transpose", [split], [f"cross.{layer}.{half}"], perm=[1, 0, 2])
            builder.output(f"cross.{layer}.{half}", HEADS, "T", HEAD_DIM)
    builder.save(path)
