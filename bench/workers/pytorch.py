"""transformers' generate on PyTorch, float32, greedy or with beams.

python -m bench.workers.pytorch CHECKPOINT THREADS
"""

from __future__ import annotations

import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from bench.workers.line import serve


class Model:
    def __init__(self, folder: str) -> None:
        config = transformers.AutoConfig.from_pretrained(folder)
        self._decoder_only = not config.is_encoder_decoder
        loader = AutoModelForCausalLM if self._decoder_only else AutoModelForSeq2SeqLM
        self._model = loader.from_pretrained(folder, dtype=torch.float32).eval()

    def generate(self, prompts: list[list[int]], new_tokens: int, beams: int = 1) -> list[list[int]]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=beams,
                max_new_tokens=new_tokens,
            )
        begin = ids.shape[1] if self._decoder_only else 1
        answers: list[list[int]] = written[:, begin:].tolist()
        return answers


def main(folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    facts = {"torch": torch.__version__, "transformers": transformers.__version__, "numbers": "fp32"}
    serve(facts, Model(folder).generate)


if __name__ == "__main__":
    main(*sys.argv[1:])
