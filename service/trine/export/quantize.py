"""Rewrites exported float32 graphs so that every product with a large weight runs in 8-bit integers, row by row. Export process.

    x -> ReduceMax, ReduceMin -> one scale for each row -> QuantizeLinear (a block is the whole row, zero point 128) -> xq
    xq -> com.microsoft.MatMulIntegerToFloat (a scale for each output channel) -> Mul (the row's scale) -> Add (bias)

A row's scale depends on nothing but the row, and integer sums have no rounding, so a sequence's answer is the same alone and in
any batch, bit for bit. ONNX Runtime's own dynamic quantization takes one scale for a whole batch, so that one caller's text
changes another's answer (docs/decisions/0009). Products that read the same rows, as those for queries, keys and values, become one:
the rows are quantized once, and the threads of a decode step meet less often (docs/decisions/0011). The bits are the same.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trine.artifact import WeightForm
from trine.export import external_data

_LEVELS = {WeightForm.S8: 127, WeightForm.U8: 127, WeightForm.S7: 63}
_ZERO = 128
_SMALLEST = np.float32(1e-9)
"""Least magnitude of a row: a row of zeros has no scale of its own."""
_MIN_OUTPUTS = 16
"""Products with fewer outputs stay in float32: a classifier's last layer costs nothing, and its errors are the answer's."""
_CONTRIB = "com.microsoft"


def weight_form(cpuinfo: Path = Path("/proc/cpuinfo")) -> WeightForm:
    """The form that this machine multiplies exactly and fastest.

    x86 without VNNI adds products of unsigned and signed bytes in 16 bits, which saturate; unsigned weights take another
    instruction. With VNNI, and on ARM, signed weights are exact and 2 to 3 times faster than unsigned ones.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return WeightForm.S8
    try:
        flags = set(cpuinfo.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        flags = set()
    return WeightForm.S8 if flags & {"avx512_vnni", "avx_vnni"} else WeightForm.U8


def quantize(source: Path, target: Path, form: WeightForm) -> None:
    """Write every graph of the folder `source`, quantized, to the folder `target`, weights beside it."""
    for path in sorted(source.glob("*.onnx")):
        model = onnx.load(str(path))
        rewrite(model, form)
        external_data.save(model, target / path.name)


def rewrite(model: onnx.ModelProto, form: WeightForm) -> None:
    """Replace the products in place, and drop the float32 weights that nothing reads any more."""
    graph = model.graph
    rewriting = _Rewriting(graph, form)
    for node in graph.node:
        rewriting.take(node)
    read = {name for node in rewriting.nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    kept += [numpy_helper.from_array(array, name) for name, array in rewriting.constants.items()]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(rewriting.nodes)
    graph.initializer.extend(kept)
    if all(opset.domain != _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))


@dataclass(frozen=True, slots=True)
class _Weight:
    tensor: onnx.TensorProto
    transposed: bool
    """Stored as [outputs, inputs]."""

    @property
    def name(self) -> str:
        return f"{self.tensor.name}{'.t' if self.transposed else ''}"

    @property
    def outputs(self) -> int:
        return int(self.tensor.dims[0 if self.transposed else 1])

    def values(self) -> NDArray[np.float32]:
        """[inputs, outputs]"""
        stored: NDArray[np.float32] = numpy_helper.to_array(self.tensor)
        return stored.T if self.transposed else stored


class _Rewriting:
    """The nodes and constants of the new graph, in the order of the old one."""

    def __init__(self, graph: onnx.GraphProto, form: WeightForm) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._form = form
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._rows: dict[str, tuple[str, str]] = {}
        """What has been quantized: name of x to the names of its integers and of its scales."""
        self._products = {n.output[0]: weight for n in graph.node if (weight := self._weight(n)) is not None}
        """By their outputs."""
        self._members: dict[str, list[onnx.NodeProto]] = {}
        """Products that read the same rows, by the name of those."""
        for node in graph.node:
            if node.output[0] in self._products:
                self._members.setdefault(node.input[0], []).append(node)

    def take(self, node: onnx.NodeProto) -> None:
        if node.output[0] not in self._products:
            self.nodes.append(node)
            return
        if members := self._members.pop(node.input[0], None):
            self._multiply(members)
        if _bias(node):
            self._add("Add", [_unbiased(node), _bias(node)], node.output[0])

    def _multiply(self, members: list[onnx.NodeProto]) -> None:
        """One product for all that read the same rows, where the first of them stands, and its parts."""
        weights, scales = self._quantized_weights([self._products[node.output[0]] for node in members])
        rows, row_scales = self._quantized_rows(members[0].input[0], len(self.constants[weights]))
        one, zero = self._constant("int8.one", np.float32(1)), self._constant("int8.zero", np.uint8(_ZERO))
        operands = [rows, weights, one, scales, zero, *([zero] if self._form is WeightForm.U8 else [])]
        product = self._add("MatMulIntegerToFloat", operands, f"{members[0].output[0]}.int8", domain=_CONTRIB)
        outputs = [_unbiased(node) for node in members]
        if len(outputs) == 1:
            self._add("Mul", [product, row_scales], outputs[0])
            return
        scaled = self._add("Mul", [product, row_scales], f"{product}.scaled")
        widths = [self._products[node.output[0]].outputs for node in members]
        sizes = self._constant(f"{product}.widths", np.array(widths, np.int64))
        self.nodes.append(
            helper.make_node("Split", [scaled, sizes], outputs, name=f"{product}.split", axis=-1)
        )

    def _weight(self, node: onnx.NodeProto) -> _Weight | None:
        """The constant that `node` multiplies rows with; None: not for us."""
        if node.op_type not in ("MatMul", "Gemm") or node.domain or node.input[1] not in self._weights:
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight = _Weight(self._weights[node.input[1]], bool(attributes.get("transB", 0)))
        scaled = attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
        if attributes.get("transA", 0) or scaled or weight.tensor.data_type != TensorProto.FLOAT:
            return None
        if len(weight.tensor.dims) != 2 or weight.outputs < _MIN_OUTPUTS:
            return None
        return weight

    def _quantized_weights(self, weights: list[_Weight]) -> tuple[str, str]:
        """Names of the integers [inputs, outputs] of all side by side, and of the scales [outputs]; what is used twice is stored once."""
        name = f"{'+'.join(weight.name for weight in weights)}.{self._form}"
        if name not in self.constants:
            parts = [quantize_weight(weight.values(), self._form) for weight in weights]
            self._constant(name, np.concatenate([integers for integers, _ in parts], axis=1))
            self._constant(f"{name}.scale", np.concatenate([scales for _, scales in parts]))
        return name, f"{name}.scale"

    def _quantized_rows(self, x: str, length: int) -> tuple[str, str]:
        """Names of x [..., length] in unsigned bytes around 128, and of its scales [..., 1]."""
        if x not in self._rows:
            last = self._constant("int8.last_axis", np.array([-1], np.int64))
            highest = self._add("ReduceMax", [x, last], f"{x}.max", keepdims=1)
            lowest = self._add("ReduceMin", [x, last], f"{x}.min", keepdims=1)
            negated = self._add("Neg", [lowest], f"{x}.negated")
            smallest = self._constant("int8.smallest", _SMALLEST)
            largest = self._add("Max", [highest, negated, smallest], f"{x}.largest")
            step = self._constant("int8.step", np.float32(1 / 127))
            scale = self._add("Mul", [largest, step], f"{x}.scale")
            shape = self._add("Shape", [scale], f"{x}.scale.shape")
            value = numpy_helper.from_array(np.array([_ZERO], np.uint8))
            zeros = self._add("ConstantOfShape", [shape], f"{x}.zeros", value=value)
            rows = self._add("QuantizeLinear", [x, scale, zeros], f"{x}.u8", axis=-1, block_size=length)
            self._rows[x] = rows, scale
        return self._rows[x]

    def _constant(self, name: str, array: Any) -> str:
        self.constants.setdefault(name, np.ascontiguousarray(array))
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


def _bias(node: onnx.NodeProto) -> str:
    """A Gemm's; "" where there is none."""
    return str(node.input[2]) if len(node.input) > 2 else ""


def _unbiased(node: onnx.NodeProto) -> str:
    """Name of what a product gives before its bias."""
    return f"{node.output[0]}.scaled" if _bias(node) else node.output[0]


def quantize_weight(
    weight: NDArray[np.float32], form: WeightForm
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """float32 [inputs, outputs] to integers of the same shape, symmetric around 0 (U8: around 128), and a scale for each output.

    S8 and U8 have 127 steps on each side, S7 has 63.
    """
    largest = np.abs(weight).max(axis=0)
    scales = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(_LEVELS[form])
    integers = np.rint(weight / scales)
    if form is WeightForm.U8:
        return (integers + _ZERO).astype(np.uint8), scales
    return integers.astype(np.int8), scales
