"""A safetensors file by its content: the header says what every byte of it is, or it is refused. Front and export process.

Layout: u64 length of the header, the header as JSON, then the tensors' bytes side by side
(https://huggingface.co/docs/safetensors, "Format"). Nothing but the header is read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine.errors import CheckpointRefused, NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules import documents
from trine.registry.rules.names import shown_file, shown_word

MAX_HEADER = 16 << 20
_MAX_TENSORS = 1 << 17
_MAX_SIDES = 8
_METADATA = "__metadata__"
ITEM_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Types of numbers that are read, with the bytes of one."""
_OTHERS: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it",
    b"PK\x05\x06": "a zip archive",
    b"\x80": "a pickle, which can run code",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
}
"""What else a file with this suffix may be, by its first bytes."""
_ZIP_END, _ZIP_END_BYTES, _ZIP_COMMENT = b"PK\x05\x06", 22, 1 << 16


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of `path` by name. Raises NotACheckpoint and UnsafeCheckpoint."""
    name = shown_file(path.name)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            header = file.read(length) if 2 <= length <= min(MAX_HEADER, size - 8) else b""
            file.seek(max(0, size - _ZIP_COMMENT - _ZIP_END_BYTES))
            end = file.read(_ZIP_COMMENT + _ZIP_END_BYTES)
    except OSError as error:
        raise NotACheckpoint(f"{name} cannot be read") from error
    if not header.startswith(b"{"):
        raise _no_safetensors(start, name)
    if _ends_as_zip(end):
        raise UnsafeCheckpoint(f"{name} ends as a zip archive does: it is two files in one")
    return _tensors(_parsed(header, name), size - 8 - length, name)


def _no_safetensors(start: bytes, name: str) -> CheckpointRefused:
    for magic, kind in _OTHERS.items():
        if start.startswith(magic):
            return UnsafeCheckpoint(f"{name} is not in the format safetensors but {kind}")
    return NotACheckpoint(
        f"{name} is not in the format safetensors, or has been cut: its header does not fit in it"
    )


def _ends_as_zip(end: bytes) -> bool:
    """The record at the end of a zip archive, with a comment that ends where the file ends."""
    place = end.rfind(_ZIP_END)
    if place < 0 or place + _ZIP_END_BYTES > len(end):
        return False
    comment = int.from_bytes(end[place + 20 : place + 22], "little")
    return place + _ZIP_END_BYTES + comment == len(end)


def _parsed(header: bytes, name: str) -> dict[str, Any]:
    found = documents.parse(header, f"the header of {name}")
    if not isinstance(found, dict):
        raise NotACheckpoint(f"the header of {name} is not a JSON object")
    metadata = found.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise NotACheckpoint(f"the header of {name} has metadata that are no strings")
    if not 0 < len(found) <= _MAX_TENSORS:
        raise UnsafeCheckpoint(f"{name} has no tensors, or more than {_MAX_TENSORS}")
    return found


def _tensors(entries: Mapping[str, Any], size: int, name: str) -> dict[str, Tensor]:
    """Checks that the tensors lie side by side, and that nothing lies between or behind them."""
    tensors: dict[str, Tensor] = {}
    places: list[tuple[int, int]] = []
    for key, entry in entries.items():
        tensors[key], place = _tensor(key, entry, name)
        places.append(place)
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise UnsafeCheckpoint(f"{name} has tensors that overlap, or bytes that belong to none")
        end = stop
    if end > size:
        raise NotACheckpoint(f"{name} has been cut: its tensors end behind the file")
    if end < size:
        raise UnsafeCheckpoint(f"{name} has bytes behind its last tensor")
    return tensors


def _tensor(key: str, entry: Any, name: str) -> tuple[Tensor, tuple[int, int]]:
    what = shown_word(key, "a tensor")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise NotACheckpoint(f"{name} does not describe {what} by type, shape and place")
    dtype, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise UnsafeCheckpoint(f"{name} has {what} in numbers of a type that is not read")
    if not (_lengths(shape) and len(shape) <= _MAX_SIDES and _lengths(place) and len(place) == 2):
        raise UnsafeCheckpoint(f"{name} has {what} with a shape or a place that is none")
    begin, end = place
    if begin > end or math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
        raise UnsafeCheckpoint(f"{name} has {what} with a shape that is not as large as its bytes")
    return Tensor(dtype, tuple(shape)), (begin, end)


def _lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 48 for each in value)
