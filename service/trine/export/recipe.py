"""From a checkpoint folder to a sealed artifact: read, export, optimize, verify. READ THIS FIRST for an export.

The export process. Nothing is published here: the server moves the sealed folder into its repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import torch

from trine import artifact
from trine.artifact import REPORT, Artifact, Family, Manifest
from trine.errors import NotACheckpoint
from trine.export import (
    checkpoint,
    decoder_graph,
    encoder_graph,
    gate,
    manifest,
    optimize,
    seq2seq_graph,
    tokenizer,
    verify,
)
from trine.export.checkpoint import Checkpoint
from trine.export.gate import Report
from trine.export.plan import CheckpointInfo, ExportPlan, inspect

Told = Callable[[str, float, str], None]
"""Is told the stage, how much of it is done (0 to 1), and a line for people."""

_SMALL = 25_000_000
"""Parameters up to which a second thread costs more than it gives (measured: 7 times more on two busy cores)."""


def export(plan: ExportPlan, info: CheckpointInfo, threads: int, told: Told) -> Report:
    """Fill and seal `plan.staging`, whatever the gate says; the report says it. Raises CheckpointRefused."""
    told("read", 0.2, "loading the weights")
    loaded = checkpoint.load(plan.checkpoint, info)
    threads = threads if loaded.parameters > _SMALL else 1
    torch.set_num_threads(threads)
    described = manifest.describe(loaded, plan.precision)
    told("read", 1.0, f"{info.architecture}, {loaded.parameters / 1e6:.1f} million parameters")

    told("export", 0.0, f"tracing to ONNX, {described.family} family")
    _write_graphs(loaded, described, plan)
    tokenizer.write(loaded.tokenizer, described.vocab_size, plan.staging)
    told("export", 1.0, "graphs and tokenizer written")

    told("optimize", 0.0, "cleaning the graphs")
    optimize.optimize(plan.staging)
    told("optimize", 1.0, "graphs cleaned")

    return _verify(loaded, described, plan, threads, told)


def _write_graphs(loaded: Checkpoint, described: Manifest, plan: ExportPlan) -> None:
    if described.family is Family.ENCODER:
        encoder_graph.export(loaded.model, plan.staging)
        return
    assert described.cache is not None
    graphs = decoder_graph if described.family is Family.DECODER else seq2seq_graph
    graphs.export(loaded.model, described.cache, plan.staging)


def _verify(loaded: Checkpoint, described: Manifest, plan: ExportPlan, threads: int, told: Told) -> Report:
    """The runners open artifacts only, so the folder is sealed twice: to be proved, and with the proof."""
    told("verify", 0.0, "comparing with the checkpoint")
    report = verify.prove(
        loaded,
        Artifact(plan.staging, artifact.seal(plan.staging, described)),
        threads=threads,
        told=lambda done: told("verify", done, "comparing with the checkpoint"),
        limits=gate.FP32,
    )
    report.details["ignored_generation_settings"] = manifest.ignored_settings(loaded)
    if inspect(plan.checkpoint, loaded.info.task, plan.precision) != loaded.info:
        raise NotACheckpoint("the checkpoint's files changed while they were exported")
    (plan.staging / REPORT).write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    artifact.seal(plan.staging, msgspec.structs.replace(described, parity=report.parity))
    return report
