"""Blocks of keys and values outlive the row that they came from."""

from __future__ import annotations

import numpy as np

from trine.artifact import CacheLayout
from trine.engine.runtime.kv import Cache
from trine.engine.runtime.prefix import Blocks

LAYOUT = CacheLayout(layers=3, kv_heads=2, head_dim=8)


def filled() -> Cache:
    """Two rows of different random numbers and an empty one, of 12 tokens."""
    cache = Cache(LAYOUT, slots=3, tokens=12)
    rng = np.random.default_rng(0)
    packed = [rng.standard_normal((2, 24, 8)).astype(np.float32) for _ in cache.names]
    cache.write(0, packed, 0, 12)
    cache.write(1, packed, 12, 12)
    return cache


def test_restored_blocks_are_the_saved_tokens_bit_for_bit() -> None:
    cache = filled()
    blocks = Blocks(cache)
    expected = cache.part(0, 0, 8).copy()
    blocks.save(5, 0, 0, 4)
    blocks.save(2, 0, 4, 4)
    cache.move(1, 0, 12)
    assert blocks.restore([5, 2], 2) == 8
    assert cache.part(2, 0, 8).tobytes() == expected.tobytes()
    assert not cache.part(2, 8, 12).any(), "no more than that"
    assert cache.part(0, 0, 12).tobytes() == cache.part(1, 0, 12).tobytes(), "other rows are left alone"


def test_a_number_that_is_given_again_holds_the_newer_tokens() -> None:
    cache = filled()
    blocks = Blocks(cache)
    blocks.save(0, 0, 0, 4)
    blocks.save(0, 1, 4, 4)
    blocks.restore([0], 2)
    assert cache.part(2, 0, 4).tobytes() == cache.part(1, 4, 8).tobytes()


def test_the_bytes_of_a_block_are_what_it_takes() -> None:
    assert Blocks(filled()).bytes_of(4) == 2 * 3 * 2 * 4 * 8 * 4
