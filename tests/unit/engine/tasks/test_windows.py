"""Long texts in windows: nothing is cut, everything fits, and what stands in two is told once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trine.engine.tasks import windows
from trine.engine.tasks.windows import MAX_TIMES_READ, MAX_WINDOWS, merged
from trine.engine.text.tokenizer import Encoding
from trine.errors import InvalidInput

FIELD = "inputs[3].text"


def encoding(tokens: int, head: int = 1, tail: int = 1) -> Encoding:
    """Text tokens 100, 101 ... between special ones."""
    ids = [*range(head), *range(100, 100 + tokens), *range(50, 50 + tail)]
    parts: list[int | None] = [None] * head + [0] * tokens + [None] * tail
    return Encoding(ids, [0] * len(ids), parts, [(0, 0)] * len(ids), [False] * len(ids))


@given(
    tokens=st.integers(1, 300),
    limit=st.integers(3, 40),
    head=st.integers(0, 1),
    tail=st.integers(0, 1),
    data=st.data(),
)
def test_every_token_is_read_once_or_in_the_overlap(
    tokens: int, limit: int, head: int, tail: int, data: st.DataObject
) -> None:
    room = limit - head - tail
    overlap = data.draw(st.none() | st.integers(0, room - 1))
    shared = room // 4 if overlap is None else overlap
    whole = encoding(tokens, head, tail)
    steps = 1 + max(0, -(-(tokens - room) // (room - shared)))
    assume(steps * limit <= MAX_TIMES_READ * len(whole.ids))
    read = windows.windows(whole, limit, overlap, FIELD)
    assert all(len(window.tokens) <= limit for window in read)
    for window in read:
        assert window.tokens[:head] == whole.ids[:head]
        assert window.tokens[len(window.tokens) - tail :] == whole.ids[len(whole.ids) - tail :]
    pieces = [window.tokens[head : len(window.tokens) - tail] for window in read]
    joined = list(pieces[0])
    for before, after in pairwise(pieces):
        assert before[len(before) - shared :] == after[:shared]
        assert len(after) > shared, "a window that says nothing new"
        joined += after[shared:]
    assert joined == list(range(100, 100 + tokens))
    rows = [np.array(window.tokens, np.float32)[:, None] for window in read]
    assert merged(read, rows, len(whole.ids))[head : head + tokens, 0].tolist() == joined


def test_a_token_counts_where_it_stands_farther_from_the_border() -> None:
    read = windows.windows(encoding(16, 1, 1), 12, 4, FIELD)
    assert [(window.begin, window.end) for window in read] == [(1, 11), (7, 17)]
    rows = [np.full((len(window.tokens), 1), place, np.float32) for place, window in enumerate(read)]
    assert merged(read, rows, 18)[1:17, 0].tolist() == [0.0] * 8 + [1.0] * 8


def test_an_overlap_that_leaves_no_step() -> None:
    with pytest.raises(InvalidInput, match=r"overlap is 10 tokens.* holds 10") as caught:
        windows.windows(encoding(50), 12, 10, FIELD)
    assert caught.value.field == "windows.overlap"


def test_what_stands_in_each_window_leaves_no_room() -> None:
    parts: list[int | None] = [*[0] * 10, *[1] * 10]
    pair = Encoding([1] * 20, [0] * 20, parts, [(0, 0)] * 20, [False] * 20)
    with pytest.raises(InvalidInput, match=r"has 10 tokens.* 8") as caught:
        windows.windows(pair, 8, 0, FIELD)
    assert caught.value.field == FIELD


def test_too_many_windows_are_refused_before_they_are_made() -> None:
    assert len(windows.windows(encoding(MAX_WINDOWS), 3, 0, FIELD)) == MAX_WINDOWS
    with pytest.raises(InvalidInput, match=f"{MAX_WINDOWS + 1} windows") as caught:
        windows.windows(encoding(MAX_WINDOWS + 1), 3, 0, FIELD)
    assert caught.value.field == FIELD


def test_a_text_is_not_read_over_and_over() -> None:
    """Windows of 100 that move on by one token would hold a text of 400 tokens 75 times."""
    with pytest.raises(InvalidInput, match="times over") as refused:
        windows.windows(encoding(400), 102, 99, FIELD)
    assert refused.value.field == "windows.overlap"
    assert len(windows.windows(encoding(400), 102, 90, FIELD)) == 31
