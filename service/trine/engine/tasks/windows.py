"""Texts that are longer than the context, as windows that fit it. Pure functions, engine process.

The special tokens, and the shorter text of a pair, stand in each window; the rest slides. Nothing is ever cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.engine.text.tokenizer import Encoding
from trine.errors import InvalidInput

MAX_WINDOWS = 1024
"""Of one input."""
MAX_REQUEST_WINDOWS = 4096
"""Of all inputs of a request."""
MAX_TIMES_READ = 16
"""How often the tokens of an input may stand in its windows, on average: with a large overlap a short text fills the memory."""


@dataclass(slots=True, frozen=True)
class Window:
    """One sequence. The tokens `begin` to `end` of the input stand in it from place `head` on."""

    tokens: list[int]
    types: list[int] | None
    begin: int = 0
    end: int = 0
    head: int = 0


def whole(encoding: Encoding) -> Window:
    """The input in one window."""
    types = encoding.types if any(encoding.types) else None
    return Window(encoding.ids, types, 0, len(encoding.ids), 0)


def windows(encoding: Encoding, limit: int, overlap: int | None, field: str) -> list[Window]:
    """Windows of at most `limit` tokens, each beginning with the last `overlap` sliding tokens of the one before.

    None overlaps by a quarter of what a window holds. Raises InvalidInput, with `field` where the input is at fault.
    """
    if len(encoding.ids) <= limit:
        return [whole(encoding)]
    first, last = _sliding(encoding.parts)
    room = limit - (len(encoding.ids) - (last - first))
    if room < 1:
        raise InvalidInput(
            f"what stands in each window has {limit - room} tokens, and the checkpoint reads at most {limit}",
            field=field,
        )
    shared = room // 4 if overlap is None else overlap
    if shared >= room:
        raise InvalidInput(
            f"the overlap is {shared} tokens, and a window holds {room}", field="windows.overlap"
        )
    count = 1 + -(-(last - first - room) // (room - shared))
    if count > MAX_WINDOWS:
        raise InvalidInput(f"the text has {count} windows, and at most {MAX_WINDOWS} are read", field=field)
    if count * limit > MAX_TIMES_READ * len(encoding.ids):
        raise InvalidInput(
            f"the windows would read the text {count * limit // len(encoding.ids)} times over, and at most {MAX_TIMES_READ} "
            "times are allowed; a smaller overlap helps",
            field="windows.overlap",
        )
    begins = [first + place * (room - shared) for place in range(count)]
    return [_window(encoding, first, last, begin, min(begin + room, last)) for begin in begins]


def _sliding(parts: Sequence[int | None]) -> tuple[int, int]:
    """Where the longer text stands among the tokens; a text's tokens stand together."""
    part = max((0, 1), key=parts.count)
    first = parts.index(part)
    return first, first + parts.count(part)


def _window(encoding: Encoding, first: int, last: int, begin: int, end: int) -> Window:
    ids, types = encoding.ids, encoding.types
    return Window(
        ids[:first] + ids[begin:end] + ids[last:],
        types[:first] + types[begin:end] + types[last:] if any(types) else None,
        begin,
        end,
        first,
    )


def merged(read: Sequence[Window], rows: Sequence[NDArray[Any]], tokens: int) -> NDArray[Any]:
    """[tokens, width] of each window's [its tokens, width]: a token that stands in two counts in the one in which it stands
    farther from the border. Rows of tokens that stand in each window are those of the first one, or zeros.
    """
    if len(read) == 1:
        return rows[0]
    answer = np.zeros((tokens, rows[0].shape[1]), rows[0].dtype)
    answer[: read[0].head] = rows[0][: read[0].head]
    begin = read[0].begin
    for place, (window, own) in enumerate(zip(read, rows, strict=True)):
        # The middle of what two windows share: before it the earlier one sees more on the right than the later one on the left.
        end = window.end
        if place + 1 < len(read):
            end = (read[place + 1].begin + window.end + 1) // 2
        answer[begin:end] = own[window.head + begin - window.begin : window.head + end - window.begin]
        begin = end
    return answer
