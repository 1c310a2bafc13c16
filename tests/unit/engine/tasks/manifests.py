"""Manifests of checkpoints that exist only on paper."""

from __future__ import annotations

from typing import Any

from trine.artifact import Family, Generation, Limits, Manifest, Parity, Pooling, Precision, SelfTest, Task


def manifest(task: Task, max_input: int = 16, max_output: int = 0, **changes: Any) -> Manifest:
    families = {
        Task.CLASSIFICATION: Family.ENCODER,
        Task.TOKEN_CLASSIFICATION: Family.ENCODER,
        Task.EMBEDDING: Family.ENCODER,
        Task.GENERATION: Family.DECODER,
        Task.TRANSLATION: Family.ENCODER_DECODER,
    }
    values: dict[str, Any] = {
        "architecture": "OnPaper",
        "family": families[task],
        "task": task,
        "precision": Precision.FP32,
        "vocab_size": 26,
        "limits": Limits(max_input, max_output),
        "self_test": SelfTest([[1]], [[1.0]], 1e-4),
        "parity": Parity(True, ()),
        "parameters": 0,
        "opset": 21,
        "exporter": "none",
    }
    return Manifest(**{**values, **changes})


def classifier(**changes: Any) -> Manifest:
    return manifest(Task.CLASSIFICATION, labels=("sum", "length"), **changes)


def tagger(*labels: str, **changes: Any) -> Manifest:
    return manifest(Task.TOKEN_CLASSIFICATION, labels=labels, **changes)


def embedder(size: int, pooling: Pooling = Pooling.MEAN, **changes: Any) -> Manifest:
    return manifest(Task.EMBEDDING, pooling=pooling, embedding_size=size, **changes)


def generator(context: int = 16, **changes: Any) -> Manifest:
    return manifest(Task.GENERATION, context, generation=Generation(eos_ids=(0,)), **changes)


def translator(source: int = 16, target: int = 10, **generation: Any) -> Manifest:
    settings = Generation(eos_ids=(0,), start_id=1, **generation)
    return manifest(Task.TRANSLATION, source, target, generation=settings)
