"""Keys and values that outlive the rows in which they were computed, as numbered blocks. Engine process, step thread.

`scheduling.prefix` decides which tokens a number stands for, and how many there are. A block's memory is taken when it is first kept,
and written over when its number is given to other tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trine.engine.runtime.kv import Cache


class Blocks:
    """Each float32 [2 * layers, kv_heads, tokens, head_dim], copied from a cache's row or into one."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._kept: dict[int, NDArray[np.float32]] = {}

    def bytes_of(self, tokens: int) -> int:
        """Of one block."""
        return self._cache.part(0, 0, tokens).nbytes

    def save(self, block: int, row: int, begin: int, tokens: int) -> None:
        """Copy `tokens` tokens of a row, from `begin` on."""
        part = self._cache.part(row, begin, begin + tokens)
        kept = self._kept.get(block)
        if kept is None:
            self._kept[block] = part.copy()
        else:
            np.copyto(kept, part)

    def restore(self, blocks: Sequence[int], row: int) -> int:
        """Copy the blocks to the beginning of a row, one after the other. Returns their tokens."""
        end = 0
        for kept in (self._kept[block] for block in blocks):
            begin, end = end, end + kept.shape[2]
            np.copyto(self._cache.part(row, begin, end), kept)
        return end
