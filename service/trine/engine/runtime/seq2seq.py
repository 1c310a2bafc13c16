"""The encoder-decoder family's runner: sources are encoded packed into cache rows, then one token a row and step.

Engine process, step thread; also export.verify and the self-test, through `logits`. One token a row, because cross-attention in
shared-KV mode takes no more for several rows (docs/decisions/0002); so the padded width is always 1 and a
row's bits never depend on its batch-mates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.encoder import KNOWN
from trine.engine.runtime.kv import Cache, capacity
from trine.engine.runtime.packing import Chunk, plan_sequences, plan_step
from trine.engine.runtime.sampler import choices_of, choose
from trine.engine.runtime.session import Graph
from trine.engine.runtime.step import StepGraph
from trine.errors import ArtifactCorrupt, Bug


class Seq2SeqRunner:
    """Encoder graph, decoder graph, self and cross caches that share row numbers: engine.scheduling's Runner. One thread at a time."""

    mixed = False
    max_chunk = 1

    def __init__(self, artifact: Artifact, threads: int, slots: int) -> None:
        """Raises ArtifactCorrupt. `slots` rows of both caches are set aside; kv.slots_for tells how many fit."""
        manifest = artifact.manifest
        if manifest.cache is None or manifest.cross is None:
            raise ArtifactCorrupt("the artifact states no cache layout")
        self.slots = slots
        self._cache = Cache(manifest.cache, slots, capacity(manifest.limits, 1, encoder_decoder=True))
        self._cross = Cache(manifest.cross, slots, manifest.limits.max_input_tokens)
        caches = {"past": self._cache, "cross": self._cross}
        self._decoder = StepGraph(artifact, "decoder.onnx", threads, slots, caches)
        self._encoder = Graph(artifact, "encoder.onnx", threads)
        outputs = [f"cross.{name}" for name in self._cross.names]
        self._encoder.require(KNOWN, outputs)
        self._projected = [self._encoder.outputs.index(name) for name in outputs]
        self._offset = manifest.position_offset
        self._suppressed = list(manifest.generation.suppressed_ids) if manifest.generation else []
        self._seen = [0] * slots
        self._source = np.ones(slots, np.int32)  # never 0: an idle row's length must be valid too

    def insert(self, prompts: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Encode the sources of (row, ids) pairs in one packed run and put their keys and values into their rows.

        Equal sources are encoded once: those of a search's beams, and of a text in several target languages.
        """
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, source in prompts:
            rows.setdefault(tuple(source), []).append(row)
        if any(not 0 < len(source) <= self._cross.tokens for source in rows):
            raise Bug("a source does not fit into the cache")
        outputs = self._encoder.run(plan_sequences(list(rows), self._offset))
        packed = [outputs[index] for index in self._projected]
        start = 0
        for source, targets in rows.items():
            for row in targets:
                self._cross.write(row, packed, start, len(source))
                self._source[row] = len(source)
                self._seen[row] = 0
            start += len(source)

    def step(self, chunks: Sequence[Chunk]) -> list[Any]:
        """Feed one token a row, and choose for each chunk that has a choice, in their order: a token, or a search's next beams."""
        return choose(self._run(chunks), choices_of(chunks), self._suppressed)

    def logits(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """As `step`, but the logits float32 [wanted, vocab] as the graph gives them, one row for each chunk with a choice."""
        return self._run(chunks).copy()

    def fork(self, source: int, target: int) -> None:
        """Copy what was written in a row to another that has the same source."""
        self._cache.move(source, target, self._seen[source])
        self._seen[target] = self._seen[source]

    def move(self, source: int, target: int) -> None:
        """Copy the cached tokens of a row to another, of both caches."""
        self.fork(source, target)
        self._cross.move(source, target, int(self._source[source]))
        self._source[target] = self._source[source]

    def _run(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        if any(len(chunk.tokens) != 1 for chunk in chunks):
            raise Bug("an encoder-decoder step takes one token a row")
        plan = plan_step(chunks, self._offset, min_width=1)
        lengths = self._source[: plan.rows]
        plan.feeds["src_seqlens"] = lengths - 1
        plan.feeds["src_total"] = np.array(lengths.max(), np.int32)
        for chunk in chunks:
            self._seen[chunk.row] = chunk.past + 1
        return self._decoder.run(plan.feeds, plan.rows, plan.wanted)
