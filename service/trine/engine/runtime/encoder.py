"""Sequences in, one array for each out: the encoder family. Engine process, step thread; also the export process, which verifies
through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact, Task
from trine.engine.runtime.packing import plan_sequences
from trine.engine.runtime.session import Graph

KNOWN = (
    *("input_ids", "position_ids", "token_type_ids", "kv_pos"),
    *("pad", "unpad", "lens", "total", "first"),
)


class EncoderRunner:
    """Runs any number of sequences of any lengths as one packed batch; the answers do not depend on the company."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Raises ArtifactCorrupt."""
        manifest = artifact.manifest
        output = "hidden" if manifest.task is Task.EMBEDDING else "logits"
        self._graph = Graph(artifact, "model.onnx", threads)
        self._graph.require(KNOWN, [output])
        self._output = self._graph.outputs.index(output)
        self._by_token = manifest.task is not Task.CLASSIFICATION
        self._offset = manifest.position_offset

    def run(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None
    ) -> list[NDArray[np.float32]]:
        """Raw float32 for each of `sequences`, in their order, each at least one token id. `types` as in plan_sequences.

        Classification: logits [labels]; token classification: logits [tokens, labels]; embedding: hidden states
        [tokens, hidden], special tokens included.
        """
        output = self._graph.run(plan_sequences(sequences, self._offset, types))[self._output]
        if not self._by_token:
            return list(output)
        return [output[start:end] for start, end in pairwise(accumulate(map(len, sequences), initial=0))]
