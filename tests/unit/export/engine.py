"""An exported artifact, run by what an engine is made of, without its process."""

from __future__ import annotations

import math
import time
from typing import Any

from trine import frames
from trine.artifact import Artifact, Family
from trine.engine import main as engine
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.call import Call
from trine.engine.scheduling.continuous import ContinuousBatcher, DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.sampling import Decoding


def generate(
    artifact: Artifact, *texts: str, new_tokens: int = 12, **fields: Any
) -> tuple[list[frames.Generated], list[list[int]]]:
    """All texts in one request, greedily: the answers, and what was written as token ids. Raises what the task raises."""
    task: Any = engine._task(artifact)
    decoding = Decoding(max_new_tokens=new_tokens)
    request = frames.Generate(0, list(texts), math.inf, 2, "", decoding, stream=False, **fields)
    batcher = _batcher(artifact)
    parts = task.prepare(request, Call(0, "", 2, math.inf, 0.0, len(texts)))
    batcher.add(parts)
    while True:
        batch = batcher.choose()
        for item in batcher.settle(batch, batcher.run(batch)):
            if (answer := task.tell(item)) is not None:
                return answer.generated, [part.context[part.begin :] for part in parts]


def prepared(artifact: Artifact, *texts: str, **fields: Any) -> list[Any]:
    """The sequences of a request before they run."""
    task: Any = engine._task(artifact)
    request = frames.Generate(0, list(texts), math.inf, 2, "", Decoding(), stream=False, **fields)
    parts: list[Any] = task.prepare(request, Call(0, "", 2, math.inf, 0.0, len(texts)))
    return parts


def _batcher(artifact: Artifact) -> ContinuousBatcher[Any]:
    meter = Meter(time.monotonic)
    if artifact.manifest.family is Family.DECODER:
        return DecoderBatcher(DecoderRunner(artifact, 1, 4, 16), 64, meter)
    return EncoderDecoderBatcher(Seq2SeqRunner(artifact, 1, 4), 64, meter)
