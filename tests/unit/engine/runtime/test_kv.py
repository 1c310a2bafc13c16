"""How many cache rows fit, and what a move copies."""

from __future__ import annotations

import numpy as np
import pytest

from trine.artifact import CacheLayout, Limits
from trine.engine.runtime.kv import Cache, slots_for

LAYOUT = CacheLayout(layers=3, kv_heads=2, head_dim=8)
TOKEN = 2 * 3 * 2 * 8 * 4


@pytest.mark.parametrize(("rows", "extra", "slots"), [(5, 0, 5), (5, -1, 4), (0, 10, 1), (100, 0, 64)])
def test_slots_of_a_decoder(rows: int, extra: int, slots: int) -> None:
    row = (100 + 16) * TOKEN
    assert slots_for(LAYOUT, Limits(100), rows * row + extra, 64, 16) == slots


def test_slots_of_an_encoder_decoder_count_both_caches() -> None:
    row = (40 + 1) * TOKEN + 100 * TOKEN
    assert slots_for(LAYOUT, Limits(100, 40), 7 * row, 64, 1, LAYOUT) == 7
    assert slots_for(LAYOUT, Limits(100, 40), 7 * row - 1, 64, 1, LAYOUT) == 6


def test_a_move_copies_the_valid_tokens_of_every_layer_and_no_more() -> None:
    cache = Cache(LAYOUT, slots=3, tokens=5)
    packed = [np.full((2, 9, 8), index + 1, np.float32) for index in range(6)]
    cache.write(2, packed, start=4, length=5)
    cache.move(2, 0, length=3)
    buffers = cache._buffers
    assert [buffers[index, 0].sum() for index in range(6)] == [2 * 3 * 8 * (index + 1) for index in range(6)]
    assert not buffers[:, 1].any()
    np.testing.assert_array_equal(buffers[:, 0, :, :3], buffers[:, 2, :, :3])


def test_a_written_row_takes_its_part_of_the_packed_tokens() -> None:
    cache = Cache(LAYOUT, slots=2, tokens=4)
    packed = [np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8) + index for index in range(6)]
    cache.write(1, packed, start=2, length=3)
    for buffer, values in zip(cache._buffers, packed, strict=True):
        np.testing.assert_array_equal(buffer[1, :, :3], values[:, 2:5])
        assert not buffer[1, :, 3:].any()
