"""Sequences in, logits out: the encoder family. Engine process, step thread; also export.verify."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.packing import plan_sequences
from trine.engine.runtime.session import Graph

KNOWN = ("input_ids", "position_ids", "kv_pos", "pad", "unpad", "lens", "total", "first")


class EncoderRunner:
    """Runs any number of sequences of any lengths as one packed batch; the answers do not depend on the company."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Raises ArtifactCorrupt."""
        self._graph = Graph(artifact, "model.onnx", threads)
        self._graph.require(KNOWN, ["logits"])
        self._logits = self._graph.outputs.index("logits")
        self._offset = artifact.manifest.position_offset

    def run(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Raw logits float32 [N, labels], in the order of `sequences`, each at least one token id."""
        return self._graph.run(plan_sequences(sequences, self._offset))[self._logits]
