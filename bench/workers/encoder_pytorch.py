"""transformers on PyTorch, float32, one padded batch.

python -m bench.workers.encoder_pytorch CHECKPOINT THREADS
"""

from __future__ import annotations

import sys

import torch
import transformers
from transformers import AutoModelForSequenceClassification

from bench.workers.line import serve
from bench.workers.padding import padded


def main(folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def encode(sequences: list[list[int]]) -> list[list[float]]:
        feeds = {name: torch.from_numpy(array) for name, array in padded(sequences).items()}
        with torch.inference_mode():
            logits: list[list[float]] = model(**feeds).logits.tolist()
        return logits

    facts = {"torch": torch.__version__, "transformers": transformers.__version__, "numbers": "fp32"}
    serve(facts, encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
