"""The key/value cache: preallocated rows that the graph reads and writes in place. Engine process, step thread.

GroupQueryAttention appends to the buffer it reads when past and present are bound to the same memory
(docs/decisions/0002), so nothing grows and nothing is copied. Pages that no sequence reached are never
touched: a row's capacity costs address space only.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trine.artifact import CacheLayout, Limits
from trine.engine.runtime.packing import MIN_WIDTH

_FLOAT32 = 4


def capacity(limits: Limits, max_chunk: int, *, encoder_decoder: bool) -> int:
    """Tokens of one row of the self-attention cache.

    Decoder family: GroupQueryAttention wants past + S <= capacity for every row, S being the longest chunk of the step.
    """
    if encoder_decoder:
        return limits.max_output_tokens + 1
    return limits.max_input_tokens + max(max_chunk, MIN_WIDTH)


def slots_for(
    cache: CacheLayout,
    limits: Limits,
    cache_bytes: int,
    max_slots: int,
    max_chunk: int,
    cross: CacheLayout | None = None,
) -> int:
    """How many rows fit into `cache_bytes`, self and cross cache together; at least 1, at most `max_slots`."""
    row = _row_bytes(cache, capacity(limits, max_chunk, encoder_decoder=cross is not None))
    if cross is not None:
        row += _row_bytes(cross, limits.max_input_tokens)
    return max(1, min(max_slots, cache_bytes // row))


def _row_bytes(layout: CacheLayout, tokens: int) -> int:
    return 2 * layout.layers * layout.kv_heads * tokens * layout.head_dim * _FLOAT32


class Cache:
    """Per layer a buffer of keys and one of values, each float32 [slots, kv_heads, capacity, head_dim]."""

    def __init__(self, layout: CacheLayout, slots: int, tokens: int) -> None:
        self.tokens = tokens
        self.names = [f"{layer}.{half}" for layer in range(layout.layers) for half in "kv"]
        shape = (len(self.names), slots, layout.kv_heads, tokens, layout.head_dim)
        self._buffers = np.zeros(shape, np.float32)

    def bind(self, binding: ort.IOBinding, rows: int, prefix: str, *, present: bool) -> None:
        """Bind the first `rows` rows as the inputs `prefix`.i.k/v and, where `present`, as the outputs present.i.k/v."""
        for name, buffer in zip(self.names, self._buffers, strict=True):
            value = ort.OrtValue.ortvalue_from_numpy(buffer[:rows])  # aliases the memory
            binding.bind_ortvalue_input(f"{prefix}.{name}", value)
            if present:
                binding.bind_ortvalue_output(f"present.{name}", value)

    def write(self, row: int, packed: list[NDArray[np.float32]], start: int, length: int) -> None:
        """Put tokens `start`..`start`+`length` of each packed array [kv_heads, T, head_dim] at the beginning of a row."""
        for buffer, values in zip(self._buffers, packed, strict=True):
            buffer[row, :, :length] = values[:, start : start + length]

    def part(self, row: int, begin: int, end: int) -> NDArray[np.float32]:
        """Tokens `begin`..`end` of a row in all layers: a view, float32 [2 * layers, kv_heads, tokens, head_dim]."""
        return self._buffers[:, row, :, begin:end]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row to another, in all layers.

        Layer by layer: of all at once numpy cannot tell that they do not overlap, and copies twice.
        """
        for buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]
