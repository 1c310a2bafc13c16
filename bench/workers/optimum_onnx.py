"""The graphs that optimum-onnx exports, run by its own classes and transformers' generate: float32, greedy (bench.optimum_setup).

python -m bench.workers.optimum_onnx FOLDER THREADS
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import onnxruntime
import torch
import transformers
from optimum.onnxruntime import (  # type: ignore[import-not-found, unused-ignore]
    ORTModelForCausalLM,
    ORTModelForSeq2SeqLM,
)

from bench.workers.line import serve


class Model:
    def __init__(self, folder: str, threads: int) -> None:
        config = transformers.AutoConfig.from_pretrained(folder)
        self._decoder_only = not config.is_encoder_decoder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        loader = ORTModelForCausalLM if self._decoder_only else ORTModelForSeq2SeqLM
        self._model = loader.from_pretrained(folder, session_options=options)

    def generate(self, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        ids = torch.tensor(prompts)
        written = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=1,
            max_new_tokens=new_tokens,
        )
        begin = ids.shape[1] if self._decoder_only else 1
        answers: list[list[int]] = written[:, begin:].tolist()
        return answers


def main(folder: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    names = ("optimum-onnx", "transformers", "onnxruntime")
    facts = {name: version(name) for name in names} | {"numbers": "fp32"}
    serve(facts, Model(folder, int(threads)).generate)


if __name__ == "__main__":
    main(*sys.argv[1:])
