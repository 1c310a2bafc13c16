"""CTranslate2's encoder, in an environment of its own (bench.ctranslate2_setup). It ends at the pooler: the last layer is numpy's.

python -m bench.workers.encoder_ctranslate2 FOLDER CLASSIFIER COMPUTE_TYPE THREADS
"""

from __future__ import annotations

import sys

import ctranslate2  # type: ignore[import-not-found, unused-ignore]
import numpy as np

from bench.workers.line import serve


def main(folder: str, classifier: str, compute_type: str, threads: str) -> None:
    encoder = ctranslate2.Encoder(
        folder, device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=int(threads)
    )
    last = np.load(classifier)
    weight, bias = last["weight"], last["bias"]

    def encode(sequences: list[list[int]]) -> list[list[float]]:
        """CTranslate2 pads the batch, and takes the padding out again for all but attention."""
        pooled = np.array(encoder.forward_batch(sequences).pooler_output)
        logits: list[list[float]] = (pooled @ weight.T + bias).tolist()
        return logits

    serve({"ctranslate2": ctranslate2.__version__, "numbers": encoder.compute_type}, encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
