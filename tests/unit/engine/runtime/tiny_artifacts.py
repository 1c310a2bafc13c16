"""Complete small artifact folders of the three families, sealed as published ones are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.engine.runtime import tiny_graphs, tiny_weights
from tests.unit.engine.runtime.tiny_weights import HEAD_DIM, HEADS, KV_HEADS, LAYERS, VOCAB, Weights
from trine import artifact
from trine.artifact import (
    Artifact,
    CacheLayout,
    Family,
    Generation,
    Limits,
    Manifest,
    Parity,
    Precision,
    SelfTest,
    Task,
)

CONTEXT = 24
SOURCE = 12
OUTPUT = 16
START, END = 1, 0
PROBES = [[3, 5, 7, 9, 2], [4], [6, 6, 8]]


def write(folder: Path, family: Family, weights: Weights, **changes: Any) -> Artifact:
    """An opened artifact in the empty folder; `changes` go into the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    build = {Family.DECODER: _decoder, Family.ENCODER_DECODER: _seq2seq}.get(family)
    if build is not None:
        fields = build(folder, weights) | changes
    else:
        fields = _encoder(folder, weights, changes.get("task", Task.CLASSIFICATION)) | changes
    manifest = Manifest(
        architecture="Tiny",
        family=family,
        precision=Precision.FP32,
        vocab_size=VOCAB,
        parity=Parity(passed=True, checks=()),
        parameters=sum(array.size for array in weights.arrays.values()),
        opset=21,
        exporter="tests",
        **fields,
    )
    artifact.seal(folder, manifest)
    return artifact.open_artifact(folder)


def _encoder(folder: Path, weights: Weights, task: Task) -> dict[str, Any]:
    tiny_graphs.encoder_graph(weights, folder / "model.onnx", task)
    hidden = [tiny_weights.encoded(weights, tokens) for tokens in PROBES]
    answers = {
        Task.CLASSIFICATION: [states[0] @ weights["labels"] for states in hidden],
        Task.TOKEN_CLASSIFICATION: [states @ weights["labels"] for states in hidden],
        Task.EMBEDDING: hidden,
    }
    stored = [answer.reshape(-1) for answer in answers[task]]
    return {
        "task": task,
        "limits": Limits(CONTEXT),
        "labels": ("a", "b", "c"),
        "self_test": _self_test(stored),
    }


def _decoder(folder: Path, weights: Weights) -> dict[str, Any]:
    tiny_graphs.decoder_graph(weights, folder / "model.onnx")
    stored = [tiny_weights.decoder_logits(weights, tokens)[-1] for tokens in PROBES]
    return {
        "task": Task.GENERATION,
        "limits": Limits(CONTEXT),
        "cache": CacheLayout(LAYERS, KV_HEADS, HEAD_DIM),
        "generation": Generation(eos_ids=(END,)),
        "self_test": _self_test(stored),
    }


def _seq2seq(folder: Path, weights: Weights) -> dict[str, Any]:
    tiny_graphs.source_graph(weights, folder / "encoder.onnx")
    tiny_graphs.decoder_graph(weights, folder / "decoder.onnx", cross=True)
    stored = [tiny_weights.seq2seq_logits(weights, tokens, [START])[-1] for tokens in PROBES]
    return {
        "task": Task.TRANSLATION,
        "limits": Limits(SOURCE, OUTPUT),
        "cache": CacheLayout(LAYERS, KV_HEADS, HEAD_DIM),
        "cross": CacheLayout(LAYERS, HEADS, HEAD_DIM),
        "generation": Generation(eos_ids=(END,), start_id=START),
        "self_test": _self_test(stored),
    }


def _self_test(stored: Sequence[np.ndarray[Any, Any]]) -> SelfTest:
    return SelfTest(PROBES, [answer[:64].tolist() for answer in stored], tolerance=1e-5)
