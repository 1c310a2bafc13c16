"""The key/value cache of a CUDA device: pages that PagedAttention reads and writes in place. Engine process, step thread.

A row of the cache is a run of consecutive pages, always the same ones, so which page a token lies in is arithmetic, and a row's tokens
lie one behind the other, as on the CPU. All memory is words of 8 bytes, and is bound by address: a numpy array of bfloat16 is never
needed. Nothing of it is ever on the host; what is copied is copied on the device, by the artifact's copy.onnx.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from trine.artifact import Artifact, CacheLayout, Limits, Precision
from trine.engine.runtime.device import Device
from trine.engine.runtime.session import Graph
from trine.errors import ArtifactCorrupt

WORD = 8
"""Bytes."""
_ELEMENTS = {Precision.FP16: (10, 2), Precision.BF16: (16, 2), Precision.FP32: (1, 4)}
"""ONNX's number of the type (TensorProto.DataType), and its bytes."""


def page_tokens(head_dim: int) -> int:
    """Tokens of a page: the fewest with which PagedAttention takes FlashAttention (its kernel's tile must not cross a page)."""
    if head_dim <= 64:
        return 256
    return 128 if head_dim <= 128 else 64


def pages_of(layout: CacheLayout, limits: Limits) -> int:
    """Pages of one row: a whole context."""
    return -(-limits.max_input_tokens // page_tokens(layout.head_dim))


def slots_for(
    layout: CacheLayout, limits: Limits, precision: Precision, cache_bytes: int, max_slots: int
) -> int:
    """How many rows fit into `cache_bytes`; at least 1, at most `max_slots`."""
    tokens = pages_of(layout, limits) * page_tokens(layout.head_dim)
    row = 2 * layout.layers * tokens * _token_bytes(layout, precision)
    return max(1, min(max_slots, cache_bytes // row))


def _token_bytes(layout: CacheLayout, precision: Precision) -> int:
    return layout.kv_heads * layout.head_dim * _ELEMENTS[precision][1]


class PagedCache:
    """Per layer keys and values, each [slots * pages, page_tokens, kv_heads, head_dim], and blocks that outlive their rows."""

    def __init__(self, artifact: Artifact, slots: int, device: Device) -> None:
        """Raises ArtifactCorrupt."""
        manifest = artifact.manifest
        if manifest.cache is None or manifest.precision not in _ELEMENTS:
            raise ArtifactCorrupt("the artifact states no cache that this server knows")
        layout = manifest.cache
        self.names = [f"{layer}.{half}" for layer in range(layout.layers) for half in "kv"]
        self.pages = pages_of(layout, manifest.limits)
        page = page_tokens(layout.head_dim)
        self._element = _ELEMENTS[manifest.precision][0]
        self._shape = [slots * self.pages, page, layout.kv_heads, layout.head_dim]
        self._token_words = _token_bytes(layout, manifest.precision) // WORD
        self._row_words = self.pages * page * self._token_words
        self._device = device
        self._buffers = [device.zeros(slots * self._row_words) for _ in self.names]
        self._blocks: dict[int, tuple[ort.OrtValue, int]] = {}
        """By number: the memory, and its tokens."""
        self._copies = Graph(artifact, "copy.onnx", 1, device)
        self._copies.require([f"from.{name}" for name in self.names], [f"to.{name}" for name in self.names])
        self._binding = self._copies.bind()

    def bind(self, binding: ort.IOBinding, rows: int, prefix: str, *, present: bool) -> None:
        """Bind all rows as the inputs `prefix`.i.k/v and, where `present`, as the outputs present.i.k/v, to the same memory."""
        for name, buffer in zip(self.names, self._buffers, strict=True):
            place = (*self._place, self._element, self._shape, buffer.data_ptr())
            binding.bind_input(f"{prefix}.{name}", *place)
            if present:
                binding.bind_output(f"present.{name}", *place)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row to another, in all layers."""
        self._copy(self._row(source), self._row(target), length)

    def bytes_of(self, tokens: int) -> int:
        """Of one block."""
        return len(self.names) * tokens * self._token_words * WORD

    def save(self, block: int, row: int, begin: int, tokens: int) -> None:
        """Keep `tokens` tokens of a row, from `begin` on, under a number."""
        if block not in self._blocks:
            self._blocks[block] = (self._device.zeros(self.bytes_of(tokens) // WORD), tokens)
        self._copy(self._row(row, begin), self._block(block), tokens)

    def restore(self, blocks: Sequence[int], row: int) -> int:
        """Copy blocks to the beginning of a row, one after the other. Returns their tokens."""
        end = 0
        for block in blocks:
            tokens = self._blocks[block][1]
            self._copy(self._block(block), self._row(row, end), tokens)
            end += tokens
        return end

    @property
    def _place(self) -> tuple[str, int]:
        return str(self._device.target), self._device.index

    def _row(self, row: int, begin: int = 0) -> list[int]:
        """The address of a row's token in each buffer."""
        words = row * self._row_words + begin * self._token_words
        return [buffer.data_ptr() + words * WORD for buffer in self._buffers]

    def _block(self, block: int) -> list[int]:
        """The address in a block of what belongs to each buffer."""
        memory, tokens = self._blocks[block]
        return [memory.data_ptr() + i * tokens * self._token_words * WORD for i in range(len(self.names))]

    def _copy(self, sources: Sequence[int], targets: Sequence[int], tokens: int) -> None:
        """Copy so many tokens of each buffer from one address to another; the two must not overlap."""
        if not tokens:
            return
        shape = [tokens * self._token_words]
        for name, source, target in zip(self.names, sources, targets, strict=True):
            self._binding.bind_input(f"from.{name}", *self._place, np.int64, shape, source)
            self._binding.bind_output(f"to.{name}", *self._place, np.int64, shape, target)
        self._copies.run_bound(self._binding, {})
