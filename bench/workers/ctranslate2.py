"""CTranslate2, greedy or with beams, in an environment of its own (bench.ctranslate2_setup).

python -m bench.workers.ctranslate2 FOLDER COMPUTE_TYPE THREADS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2  # type: ignore[import-not-found, unused-ignore]

from bench.workers.line import serve


class Model:
    """The end token is never chosen before the last place: CTranslate2's own minimum length."""

    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        decoder_only = (folder / "vocabulary.json").exists()
        name = "vocabulary.json" if decoder_only else "shared_vocabulary.json"
        self._names: list[str] = json.loads((folder / name).read_text(encoding="utf-8"))
        self._ids = {name: index for index, name in enumerate(self._names)}
        kind = ctranslate2.Generator if decoder_only else ctranslate2.Translator
        self._model = kind(
            str(folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads
        )
        self.generate = self._continue if decoder_only else self._translate
        self.compute_type: str = self._model.compute_type

    def _continue(
        self, prompts: list[list[int]], new_tokens: int, beams: int = 1, lengths: list[int] | None = None
    ) -> list[list[int]]:
        results = self._model.generate_batch(
            self._named(prompts),
            beam_size=beams,
            max_length=new_tokens,
            min_length=new_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            max_batch_size=len(prompts),
            callback=lengths and _stopper(lengths),
        )
        return [result.sequences_ids[0] for result in results]

    def _translate(
        self, prompts: list[list[int]], new_tokens: int, beams: int = 1, lengths: list[int] | None = None
    ) -> list[list[int]]:
        results = self._model.translate_batch(
            self._named(prompts),
            beam_size=beams,
            max_decoding_length=new_tokens,
            min_decoding_length=new_tokens,
            max_batch_size=len(prompts),
            callback=lengths and _stopper(lengths),
        )
        return [[self._ids[name] for name in result.hypotheses[0]] for result in results]

    def _named(self, prompts: list[list[int]]) -> list[list[str]]:
        return [[self._names[token] for token in prompt] for prompt in prompts]


def _stopper(lengths: list[int]) -> Callable[[Any], bool]:
    """Ends each answer of a batch at a length of its own: CTranslate2's limit is one for all.

    Tokens are counted here, since CTranslate2's steps begin with the shortest prompt of a batch.
    """
    left = list(lengths)

    def stop(result: Any) -> bool:
        left[result.batch_id] -= 1
        return bool(left[result.batch_id] <= 0)

    return stop


def main(folder: str, compute_type: str, threads: str) -> None:
    model = Model(Path(folder), compute_type, int(threads))
    serve({"ctranslate2": ctranslate2.__version__, "numbers": model.compute_type}, model.generate)


if __name__ == "__main__":
    main(*sys.argv[1:])
