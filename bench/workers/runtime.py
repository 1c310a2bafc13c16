"""Our runners, driven by a tight loop: engine.runtime without tokenizer, scheduler, socket or server.

python -m bench.workers.runtime ARTIFACT THREADS SLOTS
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # both as the engine does
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

import sys
from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from bench.workers.line import serve
from trine.artifact import Family, open_artifact
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.runner import Chunk
from trine.sampling import Sampling

_STEP_TOKENS = 2048
"""Prompt tokens of one step, as the server's default."""


class Loop:
    """Prompts in, as many greedy tokens each out."""

    def __init__(self, runner: DecoderRunner | Seq2SeqRunner, start_id: int | None) -> None:
        self._runner = runner
        self._start_id = start_id
        self._choice = Choice(Sampling(), 0)

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        begin = self._prefill if self._start_id is None else self._encode
        past, last = begin(prompts)
        answers = [[token] for token in last]
        while len(answers[0]) < new_tokens:
            last = self._step([[token] for token in last], past)
            past = [length + 1 for length in past]
            for answer, token in zip(answers, last, strict=True):
                answer.append(token)
        return answers

    def _prefill(self, prompts: list[list[int]]) -> tuple[list[int], list[int]]:
        rows = max(1, _STEP_TOKENS // len(prompts[0]))
        last: list[int] = []
        for start in range(0, len(prompts), rows):
            group = prompts[start : start + rows]
            last += self._step(group, [0] * len(group), start)
        return [len(prompt) for prompt in prompts], last

    def _encode(self, prompts: list[list[int]]) -> tuple[list[int], list[int]]:
        rows = max(1, _STEP_TOKENS // len(prompts[0]))
        for start in range(0, len(prompts), rows):
            self._runner.insert(list(enumerate(prompts[start : start + rows], start)))
        assert self._start_id is not None
        last = self._step([[self._start_id]] * len(prompts), [0] * len(prompts))
        return [1] * len(prompts), last

    def _step(self, tokens: Sequence[Sequence[int]], past: Sequence[int], first_row: int = 0) -> list[int]:
        chunks = [
            Chunk(first_row + index, new, length, self._choice)
            for index, (new, length) in enumerate(zip(tokens, past, strict=True))
        ]
        return self._runner.step(chunks)


def main(folder: str, threads: str, slots: str) -> None:
    artifact = open_artifact(Path(folder), check_hashes=False)
    manifest = artifact.manifest
    decoder = manifest.family is Family.DECODER
    runner = (DecoderRunner if decoder else Seq2SeqRunner)(artifact, int(threads), int(slots))
    assert manifest.generation is not None
    numbers = (
        str(manifest.precision)
        if manifest.weight_form is None
        else f"int8, row-wise, weights {manifest.weight_form}"
    )
    facts = {"onnxruntime": onnxruntime.__version__, "numbers": numbers}
    serve(facts, Loop(runner, manifest.generation.start_id).generate)


if __name__ == "__main__":
    main(*sys.argv[1:])
