"""The decoder family's runner: chunks of prompts and single decode tokens in one step. Engine process, step thread.

Also export.verify and the self-test, through `logits`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime import prefix
from trine.engine.runtime.kv import Cache, capacity
from trine.engine.runtime.packing import MIN_WIDTH, Chunk, plan_step
from trine.engine.runtime.sampler import choices_of, choose
from trine.engine.runtime.step import StepGraph
from trine.errors import ArtifactCorrupt, Bug


class Blocks(Protocol):
    """Memory of kept blocks: runtime.prefix's on the CPU, the paged cache itself on a device."""

    def bytes_of(self, tokens: int, /) -> int: ...

    def save(self, block: int, row: int, begin: int, tokens: int, /) -> None: ...

    def restore(self, blocks: Sequence[int], row: int, /) -> int: ...


class Rows(Protocol):
    def move(self, source: int, target: int, length: int, /) -> None: ...


class PackedDecoder(ABC):
    """What a decoder's runner does with its rows, wherever they lie: engine.scheduling's PrefixRunner. One thread at a time."""

    mixed = True

    def __init__(self, artifact: Artifact, slots: int, max_chunk: int, cache: Rows, blocks: Blocks) -> None:
        manifest = artifact.manifest
        self.slots = slots
        self.max_chunk = max_chunk
        self._rows = cache
        self._blocks = blocks
        self._offset = manifest.position_offset
        self._suppressed = list(manifest.generation.suppressed_ids) if manifest.generation else []
        self._seen = [0] * slots

    def insert(self, prompts: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Not for this family: prompts enter as chunks."""
        raise Bug("a decoder-only checkpoint has no source to encode")

    def step(self, chunks: Sequence[Chunk]) -> list[Any]:
        """Feed the chunks, and choose for each that has a choice, in their order: a token, or a search's next beams."""
        return choose(self._run(chunks), choices_of(chunks), self._suppressed)

    def logits(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """As `step`, but the logits float32 [wanted, vocab] as the graph gives them, one row for each chunk with a choice."""
        return self._run(chunks).copy()

    def move(self, source: int, target: int) -> None:
        """Copy the cached tokens of a row to another."""
        self._rows.move(source, target, self._seen[source])
        self._seen[target] = self._seen[source]

    def fork(self, source: int, target: int) -> None:
        """As `move`: all that is cached was read or written."""
        self.move(source, target)

    def block_bytes(self, tokens: int) -> int:
        """Memory of one kept block of so many tokens."""
        return self._blocks.bytes_of(tokens)

    def save(self, block: int, row: int, begin: int, tokens: int) -> None:
        """Keep a copy of some cached tokens of a row under a number."""
        self._blocks.save(block, row, begin, tokens)

    def restore(self, blocks: Sequence[int], row: int) -> None:
        """Begin a row with kept blocks, one after the other."""
        self._seen[row] = self._blocks.restore(blocks, row)

    @abstractmethod
    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Logits float32 [wanted, vocab], which the caller may write to until the next run."""

    def _note(self, chunks: Sequence[Chunk]) -> None:
        """How far each row is filled by a step of these chunks."""
        for chunk in chunks:
            self._seen[chunk.row] = chunk.past + len(chunk.tokens)


class DecoderRunner(PackedDecoder):
    """On the CPU: one graph for prefill, chunked prefill and decode."""

    def __init__(self, artifact: Artifact, threads: int, slots: int, max_chunk: int = 256) -> None:
        """Raises ArtifactCorrupt. `slots` rows of cache are set aside; kv.slots_for tells how many fit."""
        manifest = artifact.manifest
        if manifest.cache is None:
            raise ArtifactCorrupt("the artifact states no cache layout")
        cache = Cache(manifest.cache, slots, capacity(manifest.limits, max_chunk, encoder_decoder=False))
        super().__init__(artifact, slots, max_chunk, cache, prefix.Blocks(cache))
        self._graph = StepGraph(artifact, "model.onnx", threads, slots, {"past": cache})

    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        plan = plan_step(chunks, self._offset, MIN_WIDTH)
        self._note(chunks)
        return self._graph.run(plan.feeds, plan.rows, plan.wanted)
