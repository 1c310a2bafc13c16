"""A reader of protobuf's wire format, bounded, for files whose schema's library is not installed. Front process.

It is stricter than protobuf: a field that is not expected, a number in a longer form than needed, a group, a message that goes on behind
its end: refused, so that no other reader sees something else in the same bytes. Format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(Exception):
    """The bytes are not what the schema says."""


class Kind(enum.Enum):
    """What a field may be."""

    NUMBER = "number"
    """A varint, once."""
    NUMBERS = "numbers"
    """Any number of varints, packed or not."""
    FLOAT = "float"
    """A fixed 32 bits, once."""
    FLOATS = "floats"
    """Any number of them, packed or not."""
    BYTES = "bytes"
    """A string, bytes or a message, once."""
    MANY = "many"
    """Any number of those."""


@dataclass(slots=True)
class Fields:
    """A message by its fields' numbers."""

    numbers: dict[int, list[int]]
    bytes: dict[int, list[memoryview]]

    def number(self, field: int, default: int = 0) -> int:
        return self.numbers.get(field, [default])[0]

    def text(self, field: int) -> str:
        """Raises Malformed for what is no UTF-8."""
        try:
            return bytes(self.one(field)).decode()
        except UnicodeDecodeError as error:
            raise Malformed("a text is not UTF-8") from error

    def one(self, field: int) -> memoryview:
        return self.bytes.get(field, [memoryview(b"")])[0]

    def many(self, field: int) -> list[memoryview]:
        return self.bytes.get(field, [])

    def has(self, field: int) -> bool:
        return field in self.numbers or field in self.bytes


def read(message: memoryview, schema: Mapping[int, Kind]) -> Fields:
    """Raises Malformed for anything that `schema` does not say."""
    fields = Fields({}, {})
    for field, wire, number, content in _entries(message):
        kind = schema.get(field)
        if kind is None:
            raise Malformed(f"it has a field {field}, which is not expected")
        _keep(fields, field, kind, wire, number, content)
    return fields


def _keep(fields: Fields, field: int, kind: Kind, wire: int, number: int, content: memoryview) -> None:
    once = kind in {Kind.NUMBER, Kind.FLOAT, Kind.BYTES}
    if once and fields.has(field):
        raise Malformed(f"it has the field {field} twice")
    if kind in {Kind.BYTES, Kind.MANY} and wire == _BYTES:
        fields.bytes.setdefault(field, []).append(content)
    elif kind in {Kind.NUMBER, Kind.NUMBERS} and wire == _VARINT:
        fields.numbers.setdefault(field, []).append(_signed(number))
    elif kind is Kind.NUMBERS and wire == _BYTES:
        fields.numbers.setdefault(field, []).extend(map(_signed, _packed(content)))
    elif _is_float(kind, wire, content):
        fields.bytes.setdefault(field, []).append(content)
    else:
        raise Malformed(f"its field {field} is of another type")


def _is_float(kind: Kind, wire: int, content: memoryview) -> bool:
    packed = kind is Kind.FLOATS and wire == _BYTES and len(content) % 4 == 0
    return packed or (kind in {Kind.FLOAT, Kind.FLOATS} and wire == _FIXED32)


def _entries(message: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Number, wire type, and the value: a number or bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, wire = tag >> 3, tag & 7
        number, content = 0, message[:0]
        if wire == _VARINT:
            number, place = _varint(message, place)
        else:
            if wire == _BYTES:
                length, place = _varint(message, place)
            elif wire in {_FIXED32, _FIXED64}:
                length = 4 if wire == _FIXED32 else 8
            else:
                raise Malformed("it has a group")
            content = message[place : place + length]
            if len(content) != length:
                raise Malformed("it has been cut")
            place += length
        yield field, wire, number, content


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends."""
    if place < len(message) and (first := message[place]) < 0x80:  # nearly all are one byte long
        return first, place + 1
    number = 0
    for index, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if number >= 1 << 64 or (byte == 0 and index):
                raise Malformed("it has a number in an odd form")
            return number, place + index + 1
    raise Malformed("it has been cut, or has a number that does not end")


def _packed(content: memoryview) -> Iterator[int]:
    place = 0
    while place < len(content):
        number, place = _varint(content, place)
        yield number


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
