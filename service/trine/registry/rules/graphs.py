"""An ONNX graph from others: what our exporter would have written, or nothing. Front process; the package onnx is not needed.

A graph is a program. So that ONNX Runtime never sees a strange one: known operators of known domains only, no graph inside of a graph, no
function, weights that are exactly as large as their shapes say and lie in the one file beside it. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules.names import shown_file, shown_word
from trine.registry.rules.operators import CONTRIB, OPERATORS, SIZED_BY_INPUT
from trine.registry.rules.wire_format import Fields, Kind, Malformed, read

MAX_BYTES = 32 << 20
"""Of a graph without its weights."""
MAX_NODES = 1 << 17
MAX_ELEMENTS = 1 << 33
"""Of one tensor."""
MAX_MADE = 1 << 28
"""Elements that an operator may make of nothing."""
_MAX_OPSET = {"": 25, CONTRIB: 1}
_MAX_IR_VERSION = 13

_TEXT, _ONE, _MANY, _NUMBER, _NUMBERS = Kind.BYTES, Kind.BYTES, Kind.MANY, Kind.NUMBER, Kind.NUMBERS
_MODEL = {1: _NUMBER, 2: _TEXT, 3: _TEXT, 4: _TEXT, 5: _NUMBER, 6: _TEXT, 7: _ONE, 8: _MANY, 14: _MANY}
_GRAPH = {1: _MANY, 2: _TEXT, 5: _MANY, 10: _TEXT, 11: _MANY, 12: _MANY, 13: _MANY, 16: _MANY}
_NODE = {1: _MANY, 2: _MANY, 3: _TEXT, 4: _TEXT, 5: _MANY, 6: _TEXT, 7: _TEXT, 9: _MANY}
_ATTRIBUTE = {
    1: _TEXT,
    2: Kind.FLOAT,
    3: _NUMBER,
    4: _TEXT,
    5: _ONE,
    7: Kind.FLOATS,
    8: _NUMBERS,
    9: _MANY,
    13: _TEXT,
    20: _NUMBER,
}
_TENSOR = {1: _NUMBERS, 2: _NUMBER, 8: _TEXT, 9: _ONE, 12: _TEXT, 13: _MANY, 14: _NUMBER, 16: _MANY}
_ENTRY = {1: _TEXT, 2: _TEXT}
_OPSET = {1: _TEXT, 2: _NUMBER}
_VALUE = {1: _TEXT, 2: _ONE, 3: _TEXT, 4: _MANY}
_TYPE = {1: _ONE, 6: _TEXT}
_TENSOR_TYPE = {1: _NUMBER, 2: _ONE}
_SHAPE = {1: _MANY}
_DIMENSION = {1: _NUMBER, 2: _TEXT, 3: _TEXT}

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
"""onnx.TensorProto.DataType: FLOAT, UINT8, INT8, INT16, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16."""
_INT64 = 7
_LOCATION = frozenset({"location", "offset", "length"})
_FORBIDDEN_METADATA = "ort_config"
"""Session options that a model may carry."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """The file beside a graph."""

    name: str
    size: int | None
    """None: there is none."""


def check(path: Path) -> None:
    """The graph in `path`, whose weights are in `path`.data. Raises NotACheckpoint and UnsafeCheckpoint."""
    name = shown_file(path.name)
    beside = path.with_name(f"{path.name}.data")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnsafeCheckpoint(f"{name} is larger than {MAX_BYTES >> 20} MiB without its weights")
        content = path.read_bytes()
        weights = _Weights(beside.name, beside.stat().st_size if beside.is_file() else None)
    except OSError as error:
        raise NotACheckpoint(f"{name} cannot be read") from error
    try:
        _check_model(memoryview(content), weights, name)
    except Malformed as error:
        raise NotACheckpoint(f"{name} is not an ONNX graph as the exporter writes it: {error}") from error


def _check_model(content: memoryview, weights: _Weights, name: str) -> None:
    model = read(content, _MODEL)
    if not 1 <= model.number(1) <= _MAX_IR_VERSION:
        raise Malformed("its version of the format is not known")
    for entry in model.many(8):
        opset = read(entry, _OPSET)
        domain = opset.text(1)
        if domain not in _MAX_OPSET:
            raise UnsafeCheckpoint(
                f"{name} has operators of a domain that is not known: {shown_word(domain, 'an odd word')}"
            )
        if not 1 <= opset.number(2) <= _MAX_OPSET[domain]:
            raise UnsafeCheckpoint(f"{name} has operators of a version that is not known")
    for key, _ in _entries(model.many(14)):
        if key == _FORBIDDEN_METADATA:
            raise UnsafeCheckpoint(f"{name} sets options of the session that runs it")
    _check_graph(read(model.one(7), _GRAPH), weights, name)


def _check_graph(graph: Fields, weights: _Weights, name: str) -> None:
    if not 0 < len(graph.many(1)) <= MAX_NODES or len(graph.many(5)) > MAX_NODES:
        raise UnsafeCheckpoint(f"{name} has no nodes, or more than {MAX_NODES}")
    constants: dict[str, tuple[int, ...]] = {}
    for content in graph.many(5):
        tensor = read(content, _TENSOR)
        if tensor.text(8) in constants:
            raise UnsafeCheckpoint(f"{name} has two tensors of one name")
        constants[tensor.text(8)] = _check_tensor(tensor, weights, name)
    for content in (*graph.many(11), *graph.many(12), *graph.many(13)):
        _check_value(read(content, _VALUE), name)
    for content in graph.many(1):
        _check_node(read(content, _NODE), constants, name)


def _check_node(node: Fields, constants: Mapping[str, tuple[int, ...]], name: str) -> None:
    operator, domain = node.text(4), node.text(7)
    if operator not in OPERATORS.get(domain, ()):
        raise UnsafeCheckpoint(
            f"{name} has an operator that the exporter does not write: {shown_word(operator, 'an odd word')}"
        )
    for content in node.many(5):
        attribute = read(
            content, _ATTRIBUTE
        )  # has no field for graphs, sparse tensors, types and references to functions
        if attribute.has(5):
            _check_tensor(read(attribute.one(5), _TENSOR), _Weights("", None), name)
    inputs = node.many(1)
    place = SIZED_BY_INPUT.get(operator, len(inputs))
    if place < len(inputs):
        sizes = constants.get(bytes(inputs[place]).decode(errors="replace"), ())
        if math.prod(abs(size) or 1 for size in sizes) > MAX_MADE:
            raise UnsafeCheckpoint(f"{name} has a {operator} that makes more than {MAX_MADE} elements")


def _check_tensor(tensor: Fields, weights: _Weights, name: str) -> tuple[int, ...]:
    """Returns what stands in it where it is a short row of int64, as shapes are: else nothing."""
    what = shown_word(tensor.text(8), "a tensor")
    dims = tensor.numbers.get(1, [])
    if tensor.number(2) not in _ITEM_BYTES:
        raise UnsafeCheckpoint(f"{name} has {what} in numbers of a type that is not read")
    if any(side < 0 for side in dims) or len(dims) > 8 or math.prod(dims) > MAX_ELEMENTS:
        raise UnsafeCheckpoint(
            f"{name} has {what} with a shape of more than {MAX_ELEMENTS} elements, or with none"
        )
    size = math.prod(dims) * _ITEM_BYTES[tensor.number(2)]
    if tensor.number(14) == 1:
        _check_place(tensor, size, weights, name, what)
        return ()
    if tensor.number(14) != 0 or tensor.has(13) or len(tensor.one(9)) != size:
        raise UnsafeCheckpoint(f"{name} has {what} with a shape that is not as large as its bytes")
    content = bytes(tensor.one(9))
    if tensor.number(2) != _INT64 or len(dims) > 1 or size > 8 * 8:
        return ()
    return tuple(int.from_bytes(content[at : at + 8], "little", signed=True) for at in range(0, size, 8))


def _check_place(tensor: Fields, size: int, weights: _Weights, name: str, what: str) -> None:
    """Weights in a file: in the one beside, inside of it, and as long as the shape says."""
    pairs = _entries(tensor.many(13))
    entries = dict(pairs)
    if tensor.has(9) or len(entries) != len(pairs) or not entries.keys() <= _LOCATION:
        raise UnsafeCheckpoint(f"{name} has {what} with odd words on where its numbers are")
    if entries.get("location") != weights.name:
        raise UnsafeCheckpoint(f"{name} has {what} in another file than {shown_file(weights.name)}")
    place, length = entries.get("offset", "0"), entries.get("length", str(size))
    if not (
        place.isascii()
        and place.isdigit()
        and length.isascii()
        and length.isdigit()
        and len(place + length) < 40
    ):
        raise UnsafeCheckpoint(f"{name} has {what} at a place that is no number")
    if int(length) != size:
        raise UnsafeCheckpoint(f"{name} has {what} with a shape that is not as large as its bytes")
    if weights.size is None or int(place) + size > weights.size:
        raise UnsafeCheckpoint(f"{name} has {what} behind the end of {shown_file(weights.name)}")


def _check_value(value: Fields, name: str) -> None:
    """An input, an output, or something in between: a tensor of bounded size, as far as its shape is told."""
    kind = read(value.one(2), _TYPE)
    shape = read(read(kind.one(1), _TENSOR_TYPE).one(2), _SHAPE)
    sides = [read(dimension, _DIMENSION).number(1, 1) for dimension in shape.many(1)]
    if any(side < 0 for side in sides) or math.prod(sides) > MAX_ELEMENTS:
        raise UnsafeCheckpoint(f"{name} tells of a tensor with more than {MAX_ELEMENTS} elements")


def _entries(contents: list[memoryview]) -> list[tuple[str, str]]:
    entries = [read(content, _ENTRY) for content in contents]
    return [(entry.text(1), entry.text(2)) for entry in entries]
