"""One step of a graph that keeps its cache in place: bindings and the logits buffer, reused. Engine process, step thread.

Binding a row count N costs Python work for every layer, so it is done once for each N; a step then binds only the few small
index arrays. The logits go straight into a buffer of ours, which the next step overwrites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.device import CPU, Device
from trine.engine.runtime.session import Feeds, Graph

KNOWN = (
    *("input_ids", "position_ids", "kv_pos", "pad", "unpad", "lens", "seqlens", "total", "out_rows"),
    *("src_seqlens", "src_total"),
    *("cumulative", "past_lengths", "block_table", "bounds"),
)


class Cache(Protocol):
    """kv.Cache or paged_cache.PagedCache."""

    @property
    def names(self) -> Sequence[str]: ...
    def bind(self, binding: ort.IOBinding, rows: int, prefix: str, *, present: bool) -> None: ...


class StepGraph:
    """A decoder graph, its caches by input prefix ("past" is written, others are only read), and its logits."""

    def __init__(
        self,
        artifact: Artifact,
        file: str,
        threads: int,
        slots: int,
        caches: Mapping[str, Cache],
        device: Device = CPU,
    ) -> None:
        """Raises ArtifactCorrupt."""
        self._graph = Graph(artifact, file, threads, device)
        self._caches = caches
        bound = [f"{prefix}.{name}" for prefix, cache in caches.items() for name in cache.names]
        self._graph.require(
            [*KNOWN, *bound], ["logits", *(f"present.{name}" for name in caches["past"].names)]
        )
        vocab = self._graph.width("logits") or artifact.manifest.vocab_size
        self._logits = np.zeros((slots, vocab), np.float32)
        self._bindings: dict[int, ort.IOBinding] = {}
        self._outputs: dict[int, ort.OrtValue] = {}

    def run(self, feeds: Feeds, rows: int, wanted: int) -> NDArray[np.float32]:
        """Logits float32 [wanted, vocab]: a view that holds until the next run; the caller may write to it."""
        binding = self._bindings.get(rows) or self._bind(rows)
        logits = self._logits[:wanted]
        output = self._outputs.get(wanted)
        if output is None:
            output = self._outputs[wanted] = ort.OrtValue.ortvalue_from_numpy(logits)
        binding.bind_ortvalue_output("logits", output)
        self._graph.run_bound(binding, feeds)
        return logits

    def _bind(self, rows: int) -> ort.IOBinding:
        binding = self._bindings[rows] = self._graph.bind()
        for prefix, cache in self._caches.items():
            cache.bind(binding, rows, prefix, present=prefix == "past")
        return binding
