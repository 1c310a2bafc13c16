"""The decoder family's runner on a CUDA device: as decoder.py's, on a paged cache and without padding. Engine process, step thread.

Also export.verify and the self-test, through `logits`. PagedAttention takes the packed tokens as they are, so a step with prompt
chunks beside single tokens computes nothing twice. Only the wanted logits come to the host, where tokens are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.device import Device
from trine.engine.runtime.packing import Chunk, plan_pages
from trine.engine.runtime.paged_cache import PagedCache
from trine.engine.runtime.sampler import choices_of, choose
from trine.engine.runtime.step import StepGraph
from trine.errors import Bug


class PagedDecoderRunner:
    """One graph for prefill, chunked prefill and decode: engine.scheduling's PrefixRunner. One thread at a time."""

    mixed = True

    def __init__(
        self, artifact: Artifact, threads: int, slots: int, max_chunk: int = 256, device: Device | None = None
    ) -> None:
        """Raises ArtifactCorrupt. `slots` rows of cache are set aside; paged_cache.slots_for tells how many fit.

        Without `device` the first one of the artifact's target.
        """
        manifest = artifact.manifest
        device = device or Device(manifest.target)
        self.slots = slots
        self.max_chunk = max_chunk
        self._cache = PagedCache(artifact, slots, device)
        self._graph = StepGraph(artifact, "model.onnx", threads, slots, {"past": self._cache}, device)
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
        return self._cache.bytes_of(tokens)

    def save(self, block: int, row: int, begin: int, tokens: int) -> None:
        """Keep a copy of some cached tokens of a row under a number."""
        self._cache.save(block, row, begin, tokens)

    def restore(self, blocks: Sequence[int], row: int) -> None:
        """Begin a row with kept blocks, one after the other."""
        self._seen[row] = self._cache.restore(blocks, row)

    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        plan = plan_pages(chunks, self._offset, self._cache.pages)
        for chunk in chunks:
            self._seen[chunk.row] = chunk.past + len(chunk.tokens)
        # all rows are bound once, and the block table tells which take part
        return self._graph.run(plan.feeds, self.slots, plan.wanted)
