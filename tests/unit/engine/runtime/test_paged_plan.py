"""The plan of a step on pages, against PagedAttention as ONNX Runtime documents it, in numpy; and how much memory pages take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.engine.runtime.conftest import Chunk
from trine.artifact import CacheLayout, Limits, Precision
from trine.engine.runtime.packing import plan_pages
from trine.engine.runtime.paged_cache import page_tokens, pages_of, slots_for
from trine.errors import Bug

PAGES, PAGE, HEADS, WIDTH = 3, 4, 2, 8
Floats = NDArray[np.float64]


def paged_attention(tokens: Floats, cache: Floats, feeds: dict[str, NDArray[Any]]) -> Floats:
    """[T, H, D] attends to the cache [pages, tokens, H, D], which it is written into first. Keys, values and queries are one here."""
    attended = np.empty_like(tokens)
    bounds = zip(
        feeds["cumulative"],
        feeds["cumulative"][1:],
        feeds["past_lengths"],
        feeds["block_table"],
        strict=False,
    )
    for begin, end, past, table in bounds:
        for place, token in enumerate(tokens[begin:end], start=past):
            cache[table[place // PAGE], place % PAGE] = token
        seen = cache[table].reshape(-1, HEADS, WIDTH)
        for place in range(past, past + end - begin):
            attended[begin + place - past] = attention(seen[: place + 1])
    return attended


def attention(seen: Floats) -> Floats:
    """The last token's, [H, D]."""
    scores = np.exp(np.einsum("hd,chd->hc", seen[-1], seen) / np.sqrt(WIDTH))
    answer: Floats = np.einsum("hc,chd->hd", scores / scores.sum(1, keepdims=True), seen)
    return answer


def test_random_steps_attend_as_each_sequence_alone() -> None:
    random = np.random.default_rng(3)
    sequences = [random.normal(size=(PAGES * PAGE, HEADS, WIDTH)) for _ in range(4)]
    cache = random.normal(size=(4 * PAGES, PAGE, HEADS, WIDTH))
    past = [0] * 4
    while any(length < PAGES * PAGE for length in past):
        open_rows = [row for row in range(4) if past[row] < PAGES * PAGE]
        rows = random.permutation(open_rows)[: random.integers(1, len(open_rows) + 1)].tolist()
        counts = [int(random.integers(1, PAGES * PAGE - past[row] + 1)) for row in rows]
        chunks = [Chunk(row, [0] * count, past[row]) for row, count in zip(rows, counts, strict=True)]
        new = np.concatenate(
            [sequences[row][past[row] : past[row] + count] for row, count in zip(rows, counts, strict=True)]
        )
        attended = paged_attention(new, cache, plan_pages(chunks, 0, PAGES).feeds)
        for row, count in zip(rows, counts, strict=True):
            expected = [attention(sequences[row][: past[row] + place + 1]) for place in range(count)]
            np.testing.assert_allclose(attended[:count], expected)
            attended, past[row] = attended[count:], past[row] + count


def test_a_plan_by_hand() -> None:
    chunks = [Chunk(2, [11, 12, 13], 4, "c"), Chunk(0, [7], 9, None), Chunk(1, [5, 6], 0, "c")]
    plan = plan_pages(chunks, 2, PAGES)
    assert (plan.rows, plan.wanted) == (3, 2)
    assert {name: value.tolist() for name, value in plan.feeds.items()} == {
        "input_ids": [[11, 12, 13, 7, 5, 6]],
        "position_ids": [[6, 7, 8, 11, 2, 3]],
        "cumulative": [0, 3, 4, 6],
        "past_lengths": [4, 9, 0],
        "block_table": [[6, 7, 8], [0, 1, 2], [3, 4, 5]],
        "bounds": [3, 10, 10],
        "out_rows": [2, 5],
    }
    kinds = {name: value.dtype for name, value in plan.feeds.items()}
    wide = {"input_ids", "position_ids", "out_rows"}
    assert all(kind == (np.int64 if name in wide else np.int32) for name, kind in kinds.items())


@pytest.mark.parametrize("chunks", [[], [Chunk(0, [], 3)]])
def test_an_empty_step_is_a_bug(chunks: list[Chunk]) -> None:
    with pytest.raises(Bug):
        plan_pages(chunks, 0, PAGES)


@pytest.mark.parametrize(("head_dim", "tokens"), [(8, 256), (64, 256), (80, 128), (128, 128), (256, 64)])
def test_a_page_is_as_flash_attention_wants_it(head_dim: int, tokens: int) -> None:
    assert page_tokens(head_dim) == tokens


def test_slots_by_memory() -> None:
    layout, limits = CacheLayout(2, 3, 64), Limits(300)
    assert pages_of(layout, limits) == 2
    row = 2 * 2 * 3 * 64 * 512 * 2
    assert slots_for(layout, limits, Precision.FP16, 5 * row + 1, 64) == 5
    assert slots_for(layout, limits, Precision.BF16, 99 * row, 64) == 64
    assert slots_for(layout, limits, Precision.FP16, 1, 64) == 1
