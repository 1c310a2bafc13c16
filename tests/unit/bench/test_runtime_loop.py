"""The loop that drives our runners writes what one prompt at a time would."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.workers import runtime

from tests.unit.engine.runtime import tiny_artifacts, tiny_weights
from tests.unit.engine.runtime.tiny_weights import Weights
from trine.artifact import Family
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.seq2seq import Seq2SeqRunner

PROMPTS = [[3, 5, 7, 9], [4, 4, 2, 8], [6, 6, 8, 1], [2, 2, 2, 2], [9, 3, 1, 5]]


def test_decoder_prefills_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_STEP_TOKENS", 9)
    weights = Weights()
    artifact = tiny_artifacts.write(tmp_path, Family.DECODER, weights)
    loop = runtime.Loop(DecoderRunner(artifact, 1, 8), None)
    assert loop.generate(PROMPTS, 6) == [_continued(weights, prompt, 6) for prompt in PROMPTS]


def test_encoder_decoder_encodes_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_STEP_TOKENS", 9)
    weights = Weights()
    artifact = tiny_artifacts.write(tmp_path, Family.ENCODER_DECODER, weights)
    loop = runtime.Loop(Seq2SeqRunner(artifact, 1, 8), tiny_artifacts.START)
    assert loop.generate(PROMPTS, 6) == [_translated(weights, prompt, 6) for prompt in PROMPTS]


def _continued(weights: Weights, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(tiny_weights.decoder_logits(weights, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def _translated(weights: Weights, source: list[int], count: int) -> list[int]:
    tokens = [tiny_artifacts.START]
    for _ in range(count):
        tokens.append(int(tiny_weights.seq2seq_logits(weights, source, tokens)[-1].argmax()))
    return tokens[1:]
