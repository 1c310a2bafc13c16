"""Our runner of the encoder family: engine.runtime without tokenizer, scheduler, socket or server.

python -m bench.workers.encoder_runtime ARTIFACT THREADS
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # both as the engine does
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

import sys
from pathlib import Path

import onnxruntime

from bench.workers.line import serve
from trine.artifact import open_artifact
from trine.engine.runtime.encoder import EncoderRunner


def main(folder: str, threads: str) -> None:
    artifact = open_artifact(Path(folder), check_hashes=False)
    manifest = artifact.manifest
    runner = EncoderRunner(artifact, int(threads))

    def encode(sequences: list[list[int]]) -> list[list[float]]:
        return [logits.tolist() for logits in runner.run(sequences)]

    form = manifest.weight_form
    numbers = str(manifest.precision) if form is None else f"int8, row-wise, weights {form}"
    serve({"onnxruntime": onnxruntime.__version__, "numbers": numbers}, encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
