"""The numeric self-test of an engine's start: the artifact's stored input, run again.

Its answer is compared with the stored one; docs/decisions/0004 says why at every start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.paged_decoder import PagedDecoderRunner
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.errors import ArtifactCorrupt

Runner = EncoderRunner | DecoderRunner | PagedDecoderRunner | Seq2SeqRunner


@dataclass(slots=True, frozen=True)
class _Chunk:
    row: int
    tokens: Sequence[int]
    past: int
    choice: object | None


def drift(artifact: Artifact, runner: Runner) -> float:
    """Largest max|a-b| / max|b| over the stored rows, a being this run's answer and b the stored one; inf for NaN.

    The generation runners' cache rows are used and left with rubbish, so call it before any sequence is in.
    """
    test = artifact.manifest.self_test
    worst = 0.0
    for answer, stored in zip(_answers(artifact, runner), test.outputs, strict=True):
        expected = np.asarray(stored, np.float64)
        error = np.abs(answer.reshape(-1)[: len(expected)] - expected).max() / max(
            np.abs(expected).max(), 1e-30
        )
        worst = max(worst, float(error) if np.isfinite(error) else float("inf"))
    return worst


def _answers(artifact: Artifact, runner: Runner) -> Sequence[NDArray[np.float32]]:
    inputs = artifact.manifest.self_test.inputs
    if isinstance(runner, EncoderRunner):
        return runner.run(inputs)
    if isinstance(runner, DecoderRunner | PagedDecoderRunner):
        return [_last_logits(runner, tokens) for tokens in inputs]
    return [_first_logits(artifact, runner, source) for source in inputs]


def _last_logits(runner: DecoderRunner | PagedDecoderRunner, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Logits float32 [vocab] after the whole prompt, fed as the engine feeds it."""
    for past in range(0, len(tokens), runner.max_chunk):
        logits = runner.logits([_Chunk(0, tokens[past : past + runner.max_chunk], past, True)])
    return logits.reshape(-1)


def _first_logits(artifact: Artifact, runner: Seq2SeqRunner, source: Sequence[int]) -> NDArray[np.float32]:
    generation = artifact.manifest.generation
    if generation is None or generation.start_id is None:
        raise ArtifactCorrupt("the artifact states no start token")
    runner.insert([(0, source)])
    return runner.logits([_Chunk(0, [generation.start_id], 0, True)]).reshape(-1)
