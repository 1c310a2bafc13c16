"""From a checkpoint folder to a sealed artifact: read, export, optimize, quantize, verify. READ THIS FIRST for an export.

The export process. Nothing is published here: the server moves the sealed folder into its repository.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
import torch

from trine import artifact
from trine.artifact import REPORT, Artifact, Family, Manifest, Precision, Target, Task
from trine.engine.runtime.device import Device
from trine.export import (
    agreement,
    chat,
    checkpoint,
    cuda,
    decoder_graph,
    encoder_graph,
    gate,
    manifest,
    optimize,
    paged_decoder_graph,
    quantize,
    seq2seq_graph,
    tokenizer,
    trial,
    verify,
)
from trine.export.checkpoint import Checkpoint
from trine.export.conditions import Conditions, Stopwatch, Told
from trine.export.gate import Report
from trine.export.plan import CheckpointInfo, ExportPlan, Gate

_FP32_SHARE = 0.7
"""Of the stage verify, where int8 is compared as well."""
_SMALL = 25_000_000
"""Parameters up to which a second thread costs more than it gives (measured: 7 times more on two busy cores)."""


def export(
    plan: ExportPlan, info: CheckpointInfo, threads: int, told: Told, conditions: Conditions | None = None
) -> Report:
    """Fill and seal `plan.staging`, whatever the gate says; the report says it. Raises CheckpointRefused, or NotPossible without CUDA."""
    conditions, told = conditions or Conditions(), Stopwatch(told)
    half = plan.precision if cuda.wanted(plan.precision) else None
    device = cuda.device_of(plan) if half else None
    tokenizer.check(plan.checkpoint, told, conditions.give_up)
    told("read", 0.2, "loading the weights")
    loaded = checkpoint.load(plan.checkpoint, info)
    threads = threads if loaded.parameters > _SMALL else 1
    torch.set_num_threads(threads)
    described = manifest.describe(loaded, half or Precision.FP32)
    told("read", 1.0, f"{info.architecture}, {loaded.parameters / 1e6:.1f} million parameters")

    told("export", 0.0, f"tracing to ONNX, {described.family} family")
    _write_graphs(loaded, described, plan)
    tokenizer.write(loaded.tokenizer, described.vocab_size, plan.staging)
    template = chat.write(loaded.tokenizer, plan.staging) if info.task is Task.GENERATION else ""
    for path in plan.staging.glob("*tokenizer.json"):
        trial.check(path, conditions.give_up)
    told("export", 1.0, "graphs and tokenizer written" + (f"; chat template: {template}" if template else ""))

    told("optimize", 0.0, "cleaning the graphs")
    optimize.optimize(plan.staging)
    told("optimize", 1.0, "graphs cleaned")

    # Beside the staging folder, hence on the same disk: what is chosen is moved, not copied.
    with tempfile.TemporaryDirectory(dir=plan.staging.parent, prefix=".int8-") as folder:
        no_int8 = half or plan.precision is Precision.FP32
        int8 = None if no_int8 else _quantize(described, Path(folder), plan, told)
        report, chosen = _verify(loaded, described, int8, plan, threads, told, device)
        if chosen.precision is Precision.INT8:
            _move_graphs(Path(folder), plan.staging)
    report.details["ignored_generation_settings"] = manifest.ignored_settings(loaded)
    report.details["chat_template"] = template
    report.overridden = plan.gate is Gate.REPORT
    written = report.to_json() | conditions.to_json(told.seconds)
    (plan.staging / REPORT).write_text(json.dumps(written, indent=1), encoding="utf-8")
    artifact.seal(plan.staging, msgspec.structs.replace(chosen, parity=report.parity))
    return report


def _write_graphs(loaded: Checkpoint, described: Manifest, plan: ExportPlan) -> None:
    if described.family is Family.ENCODER:
        encoder_graph.export(loaded.model, described.task, plan.staging)
        return
    assert described.cache is not None
    if described.target is Target.CUDA:
        dtype = paged_decoder_graph.DTYPES[described.precision]
        paged_decoder_graph.export(loaded.model, described.cache, dtype, plan.staging)
        return
    graphs = decoder_graph if described.family is Family.DECODER else seq2seq_graph
    graphs.export(loaded.model, described.cache, plan.staging)


def _quantize(described: Manifest, folder: Path, plan: ExportPlan, told: Told) -> Artifact:
    """The int8 graphs, in `folder`, with a manifest; everything else is in the staging folder."""
    form = quantize.weight_form()
    told("quantize", 0.0, f"quantizing the weights to 8 bits, form {form}")
    quantize.quantize(plan.staging, folder, form)
    int8 = msgspec.structs.replace(described, precision=Precision.INT8, weight_form=form)
    told("quantize", 1.0, "weights quantized")
    return Artifact(folder, artifact.seal(folder, int8))


def _verify(
    loaded: Checkpoint,
    described: Manifest,
    int8: Artifact | None,
    plan: ExportPlan,
    threads: int,
    told: Told,
    device: Device | None,
) -> tuple[Report, Manifest]:
    """float32 against the checkpoint, then int8 against float32: the verdict on what is to be served, and its manifest. On CUDA half
    precision against the checkpoint.

    The runners open artifacts only, so the folder is sealed twice: here to be proved, later with the proof.
    """
    told("verify", 0.0, "comparing with the checkpoint")
    share = 1.0 if int8 is None else _FP32_SHARE
    fp32 = Artifact(plan.staging, artifact.seal(plan.staging, described))

    def heard(done: float) -> None:
        told("verify", share * done, "comparing with the checkpoint")

    if described.target is Target.CUDA:
        return cuda.prove(loaded, fp32, device, threads=threads, told=heard), described
    report = verify.prove(loaded, fp32, threads=threads, told=heard, limits=gate.FP32)
    asked = plan.precision is Precision.INT8
    if int8 is None or not (report.passed or asked):
        return report, described
    own_test = agreement.self_test(int8, threads)
    int8 = Artifact(int8.folder, msgspec.structs.replace(int8.manifest, self_test=own_test))
    agreed = agreement.prove(
        fp32,
        int8,
        plan.checkpoint,
        threads=threads,
        told=lambda done: told("verify", share + (1 - share) * done, "comparing int8 with float32"),
        limits=gate.INT8,
    )
    if asked or agreed.passed:
        return gate.chained(report, agreed), int8.manifest
    report.details["int8"] = agreed.to_json()
    why = f"float32, because int8 is too far from it: {agreed.figures}"
    return report, msgspec.structs.replace(described, precision_reason=why)


def _move_graphs(source: Path, target: Path) -> None:
    """Put the graphs of `source` in the place of those with the same names."""
    for path in source.glob("*.onnx*"):
        path.replace(target / path.name)
