"""ONNX graphs by hand, in protobuf's wire format: a small good one, of which tests change what they like."""

from __future__ import annotations

from collections.abc import Mapping

Value = int | str | bytes
FLOAT, INT64 = 1, 7


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(*fields: tuple[int, Value]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def entry(key: str, value: str) -> bytes:
    return message((1, key), (2, value))


def raw_tensor(name: str, dims: list[int], content: bytes, kind: int = FLOAT) -> bytes:
    return message(*((1, side) for side in dims), (2, kind), (8, name), (9, content))


def external_tensor(name: str, dims: list[int], place: Mapping[str, str], kind: int = FLOAT) -> bytes:
    entries = [(13, entry(key, value)) for key, value in place.items()]
    return message(*((1, side) for side in dims), (2, kind), (8, name), *entries, (14, 1))


def node(operator: str, inputs: list[str], output: str, *attributes: bytes, domain: str = "") -> bytes:
    named = [(1, name) for name in inputs] + [(2, output), (3, output), (4, operator)]
    return message(*named, *((5, each) for each in attributes), *([(7, domain)] if domain else []))


def attribute(name: str, *fields: tuple[int, Value]) -> bytes:
    return message((1, name), *fields)


def value(name: str, *dims: int) -> bytes:
    shape = message(*((1, message((1, side))) for side in dims))
    return message((1, name), (2, message((1, message((1, FLOAT), (2, shape))))))


WEIGHT = external_tensor("w", [4, 8], {"location": "model.onnx.data", "offset": "0", "length": "128"})
WEIGHT_BYTES = bytes(128)
BIAS = raw_tensor("b", [8], bytes(32))
NODES = (node("MatMul", ["x", "w"], "y"), node("Add", ["y", "b"], "logits"))


def graph(
    *more: tuple[int, Value], nodes: tuple[bytes, ...] = NODES, tensors: tuple[bytes, ...] = (WEIGHT, BIAS)
) -> bytes:
    return message(
        *((1, each) for each in nodes),
        (2, "main"),
        *((5, each) for each in tensors),
        (11, value("x", 1, 4)),
        (12, value("logits", 1, 8)),
        *more,
    )


def opset(domain: str, version: int) -> bytes:
    return message((1, domain), (2, version))


def model(
    *more: tuple[int, Value], graph: bytes | None = None, opsets: tuple[bytes, ...] = (opset("", 21),)
) -> bytes:
    found = globals()["graph"]() if graph is None else graph
    return message((1, 10), (2, "pytorch"), (7, found), *((8, each) for each in opsets), *more)
