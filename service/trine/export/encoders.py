"""Encoders compared, input by input: float32 with the checkpoint, and int8 with float32. The export process.

The halves of the two gates (verify.py, agreement.py) that are about the encoder family. Every input runs alone and in company.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact, Manifest, Task
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.pooling import normalized, pool
from trine.export import gate
from trine.export.gate import GateLimits, Int8Limits, Report
from trine.export.reference import Logits, Reference, Types, embedding
from trine.export.walk import cut

Told = Callable[[float], None]
"""Is told how much is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Input:
    """One probe, as the graph takes it, cut to the context."""

    ids: list[int]
    types: Types = None

    @classmethod
    def pair(cls, ids: list[int], types: Types, length: int) -> Input:
        """Of two texts."""
        return cls(cut(ids, length, keep_end=True), types and cut(types, length, keep_end=True))


def compare(
    runner: EncoderRunner,
    manifest: Manifest,
    reference: Reference,
    probed: Sequence[Input],
    report: Report,
    limits: GateLimits,
    told: Told,
) -> None:
    """float32 with the checkpoint: the rows that the graph gives, and what the task makes of them."""
    expected, alone = [], []
    for done, each in enumerate(probed):
        expected.append(reference.output(each.ids, each.types))
        alone.append(_run(runner, [each])[0])
        told(0.8 * done / len(probed))
    pairs = list(zip(alone, expected, strict=True))
    drifts = [gate.drift(np.atleast_2d(a), np.atleast_2d(b)) for a, b in pairs]
    output = "hidden" if manifest.task is Task.EMBEDDING else "logits"
    report.at_most(output, drifts, limits.logits)
    report.details[f"{output}_by_text"] = [gate.writable(drift) for drift in drifts]
    report.at_most(f"batch_{output}", _apart(runner, probed, alone), limits.batch_logits)
    if manifest.task is Task.EMBEDDING:
        pooled = [(_pooled(a, manifest), _originally_pooled(b, manifest)) for a, b in pairs]
        report.at_most("embeddings", [gate.drift(a[None], b[None]) for a, b in pooled], limits.embeddings)
        report.at_least("cosine", min(_cosine(a, b) for a, b in pooled), limits.cosine, len(pooled))
    elif manifest.task is Task.TOKEN_CLASSIFICATION:
        same = [_same_label(a, b, limits.tie_margin) for a, b in pairs]
        report.share("labels", np.concatenate(same).tolist(), limits.labels)
    else:
        report.share("labels", [_same_labels(a, b, manifest) for a, b in pairs], limits.labels)


def agree(
    fp32: Artifact, int8: Artifact, probed: Sequence[Input], threads: int, report: Report, limits: Int8Limits
) -> EncoderRunner:
    """int8 with float32. Returns int8's runner."""
    manifest = fp32.manifest
    runner = EncoderRunner(fp32, threads)
    expected = [_run(runner, [each])[0] for each in probed]
    runner = EncoderRunner(int8, threads)
    alone = [_run(runner, [each])[0] for each in probed]
    pairs = list(zip(alone, expected, strict=True))
    if manifest.task is Task.EMBEDDING:
        pooled = [(_pooled(a, manifest), _pooled(b, manifest)) for a, b in pairs]
        report.at_least("int8_cosine", min(_cosine(a, b) for a, b in pooled), limits.cosine, len(pooled))
        report.at_most("int8_embeddings", [_distance(a, b) for a, b in pooled], limits.embeddings)
    elif manifest.task is Task.TOKEN_CLASSIFICATION:
        same = [_same_label(a, b, margin=0.0) for a, b in pairs]
        report.share("int8_labels", np.concatenate(same).tolist(), limits.labels)
        moved = np.concatenate([np.abs(_softmax(a) - _softmax(b)).max(axis=-1) for a, b in pairs])
        report.mean_at_most("int8_scores", moved.tolist(), limits.scores)
    else:
        report.share("int8_labels", [_same_labels(a, b, manifest) for a, b in pairs], limits.labels)
        scores = _sigmoid if manifest.multi_label else _softmax
        moved_most = [float(np.abs(scores(a) - scores(b)).max()) for a, b in pairs]
        report.at_most("int8_scores", moved_most, limits.scores)
    report.at_most("int8_batch_logits", _apart(runner, probed, alone), limits.batch_logits)
    return runner


# --- alone and in company ----------------------------------------------------------------------------------------------------


def _run(runner: EncoderRunner, probed: Sequence[Input]) -> list[Logits]:
    return runner.run([each.ids for each in probed], [each.types for each in probed])


def _apart(runner: EncoderRunner, probed: Sequence[Input], alone: Sequence[Logits]) -> list[float]:
    return [
        gate.drift(np.atleast_2d(rows), np.atleast_2d(alone[index]))
        for index, rows in _in_company(runner, probed)
    ]


def _in_company(runner: EncoderRunner, probed: Sequence[Input]) -> Iterator[tuple[int, Logits]]:
    """(index, output) of each input in batches of several sizes and mixes: shuffled, by length, and all at once."""
    order = list(range(len(probed)))
    shuffled = random.Random(0).sample(order, len(order))
    by_length = sorted(order, key=lambda index: len(probed[index].ids))
    for mix, size in ((order, 3), (shuffled, 8), (by_length, 16), (shuffled, len(order))):
        for start in range(0, len(mix), size):
            batch = mix[start : start + size]
            yield from zip(batch, _run(runner, [probed[index] for index in batch]), strict=True)


# --- what a task makes of the rows -------------------------------------------------------------------------------------------


def _same_labels(ours: Logits, reference: Logits, manifest: Manifest) -> bool:
    return bool((_labels(ours, manifest.multi_label) == _labels(reference, manifest.multi_label)).all())


def _labels(logits: Logits, multi_label: bool) -> NDArray[np.bool_]:
    """[labels]: which of them hold: the best one, or each by itself."""
    return logits > 0 if multi_label else logits == logits.max()


def _same_label(ours: Logits, reference: Logits, margin: float) -> NDArray[np.bool_]:
    """[tokens]: whether our best label of each is the reference's, or as good as it within `margin` of the row's largest logit."""
    chosen = np.take_along_axis(reference, ours.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    same: NDArray[np.bool_] = chosen >= reference.max(axis=-1) - margin * np.abs(reference).max(axis=-1)
    return same


def _pooled(hidden: Logits, manifest: Manifest) -> Logits:
    """As an engine does it."""
    assert manifest.pooling is not None
    vector = pool(hidden, manifest.pooling)
    return (normalized(vector) if manifest.normalize else vector).astype(np.float32)


def _originally_pooled(hidden: Logits, manifest: Manifest) -> Logits:
    assert manifest.pooling is not None
    return embedding(hidden, manifest.pooling, normalize=manifest.normalize)


def _cosine(ours: Any, reference: Any) -> float:
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), np.finfo(np.float64).tiny))
    return cosine if np.isfinite(cosine) else -1.0


def _distance(ours: Any, reference: Any) -> float:
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), np.finfo(np.float64).tiny))


def _softmax(logits: Logits) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    scores: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def _sigmoid(logits: Logits) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
