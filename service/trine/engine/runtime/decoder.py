"""The decoder family's runner: chunks of prompts and single decode tokens in one step. Engine process, step thread.

Also export.verify and the self-test, through `logits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.kv import Cache, capacity
from trine.engine.runtime.packing import MIN_WIDTH, Chunk, plan_step
from trine.engine.runtime.prefix import Blocks
from trine.engine.runtime.sampler import choices_of, choose
from trine.engine.runtime.step import StepGraph
from trine.errors import ArtifactCorrupt, Bug


class DecoderRunner:
    """One graph for prefill, chunked prefill and decode: engine.scheduling's Runner. One thread at a time."""

    mixed = True

    def __init__(self, artifact: Artifact, threads: int, slots: int, max_chunk: int = 256) -> None:
        """Raises ArtifactCorrupt. `slots` rows of cache are set aside; kv.slots_for tells how many fit."""
        manifest = artifact.manifest
        if manifest.cache is None:
            raise ArtifactCorrupt("the artifact states no cache layout")
        self.slots = slots
        self.max_chunk = max_chunk
        self._cache = Cache(
            manifest.cache, slots, capacity(manifest.limits, max_chunk, encoder_decoder=False)
        )
        self._blocks = Blocks(self._cache)
        self._graph = StepGraph(artifact, "model.onnx", threads, slots, {"past": self._cache})
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
        self._cache.move(source, target, self._seen[source])
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

    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        plan = plan_step(chunks, self._offset, MIN_WIDTH)
        for chunk in chunks:
            self._seen[chunk.row] = chunk.past + len(chunk.tokens)
        return self._graph.run(plan.feeds, plan.rows, plan.wanted)
