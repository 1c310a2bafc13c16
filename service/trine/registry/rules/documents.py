"""JSON from strangers: bounded in size and depth, and with one meaning only. Front and export process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules.names import shown_file

MAX_BYTES = 16 << 20
MAX_DEPTH = 32


class _Ambiguous(ValueError):
    """The same key twice: two readers may see two documents."""


def read(path: Path, most: int = MAX_BYTES) -> Any:
    """The document in `path`, of at most `most` bytes. Raises NotACheckpoint and UnsafeCheckpoint."""
    name = shown_file(path.name)
    try:
        if path.stat().st_size > most:
            raise UnsafeCheckpoint(f"{name} is larger than {_size(most)}")
        return parse(path.read_bytes(), name)
    except OSError as error:
        raise NotACheckpoint(f"{name} cannot be read") from error


def parse(content: bytes, name: str) -> Any:
    """UTF-8 only, each key once, no NaN and no Infinity, at most `MAX_DEPTH` deep. Raises NotACheckpoint and UnsafeCheckpoint."""
    try:
        document = json.loads(
            content.decode(),
            object_pairs_hook=_each_key_once,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        deep = _deeper_than(document, MAX_DEPTH)
    except _Ambiguous as error:
        raise UnsafeCheckpoint(f"{name} has the same key twice in one object") from error
    except RecursionError as error:
        raise UnsafeCheckpoint(f"{name} is nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise NotACheckpoint(f"{name} is not JSON") from error
    if deep:
        raise UnsafeCheckpoint(f"{name} is nested more than {MAX_DEPTH} deep")
    return document


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999
        raise ValueError("a number that is not finite")
    return value


def objects(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in the document, at any depth, with the key that it stands under ("" for the outermost and in lists)."""
    waiting = [("", document)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            yield key, value
            waiting += [(name, each) for name, each in value.items() if isinstance(each, dict | list)]
        elif isinstance(value, list):
            waiting += [("", each) for each in value if isinstance(each, dict | list)]


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Ambiguous
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _deeper_than(document: Any, most: int) -> bool:
    level = [document]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"
