"""The decoder family's runner on a CUDA device: as decoder.py's, on a paged cache and without padding. Engine process, step thread.

Also export.verify and the self-test, through `logits`. PagedAttention takes the packed tokens as they are, so a step with prompt
chunks beside single tokens computes nothing twice. Only the wanted logits come to the host, where tokens are chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.decoder import PackedDecoder
from trine.engine.runtime.device import Device
from trine.engine.runtime.packing import Chunk, plan_pages
from trine.engine.runtime.paged_cache import PagedCache
from trine.engine.runtime.step import StepGraph


class PagedDecoderRunner(PackedDecoder):
    """On a CUDA device: one graph for prefill, chunked prefill and decode."""

    def __init__(
        self, artifact: Artifact, threads: int, slots: int, max_chunk: int = 256, device: Device | None = None
    ) -> None:
        """Raises ArtifactCorrupt. `slots` rows of cache are set aside; paged_cache.slots_for tells how many fit.

        Without `device` the first one of the artifact's target.
        """
        device = device or Device(artifact.manifest.target)
        cache = PagedCache(artifact, slots, device)
        super().__init__(artifact, slots, max_chunk, cache, cache)
        self._pages = cache.pages
        self._graph = StepGraph(artifact, "model.onnx", threads, slots, {"past": cache}, device)

    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        plan = plan_pages(chunks, self._offset, self._pages)
        self._note(chunks)
        # all rows are bound once, and the block table tells which take part
        return self._graph.run(plan.feeds, self.slots, plan.wanted)
