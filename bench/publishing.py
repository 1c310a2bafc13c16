"""Checkpoints of random weights exported and published by the exporter's own steps, all but the parity gate. Needs PyTorch.

On random weights of full size the gate takes long and tells nothing. The versions say that theirs was overridden.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import msgspec
import torch

from bench.shapes import Shape
from trine import artifact
from trine.artifact import REPORT, Artifact, Family, Manifest, Parity, Precision
from trine.export import (
    agreement,
    checkpoint,
    decoder_graph,
    encoder_graph,
    manifest,
    optimize,
    quantize,
    seq2seq_graph,
)
from trine.export import tokenizer as tokenizers_of
from trine.export.checkpoint import Checkpoint
from trine.export.plan import CheckpointInfo, Gate, inspect
from trine.registry.records import Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository

_THREADS = 2
_PARITY = Parity(passed=False, checks=(), overridden=True)


def publish(shape: Shape, folder: Path, root: Path, again: bool = False) -> None:
    """Export the checkpoint once for each recipe, or `again`, and publish it as SHAPE-fp32 and SHAPE-int8."""
    repository = Repository(root)
    info = inspect(folder, None, Precision.FP32, Gate.REPORT)
    names = (f"{shape.name}-fp32", f"{shape.name}-int8")
    if not again and all(repository.find(name, info.digest) for name in names):
        return
    for name in {*names} & {*repository.names()}:  # of an earlier recipe
        repository.delete_checkpoint(name)
    loaded = checkpoint.load(folder, info)
    torch.set_num_threads(_THREADS)
    described = manifest.describe(loaded, Precision.FP32)
    with repository.reserve(f"{shape.name}-fp32") as reservation:
        staging = reservation.staging
        staging.mkdir()
        _write_graphs(loaded, described, staging)
        tokenizers_of.write(loaded.tokenizer, described.vocab_size, staging)
        optimize.optimize(staging)
        record = _record(reservation.name, reservation.number, info, Precision.FP32)
        del loaded
        _seal(staging, described)
        reservation.publish(record)
    repository.set_alias(record.checkpoint, LIVE, record.number)
    _publish_int8(shape, repository, repository.artifact_folder(record), described, info)


def _write_graphs(loaded: Checkpoint, described: Manifest, staging: Path) -> None:
    if described.family is Family.ENCODER:
        encoder_graph.export(loaded.model, described.task, staging)
        return
    assert described.cache is not None
    graphs = decoder_graph if described.family is Family.DECODER else seq2seq_graph
    graphs.export(loaded.model, described.cache, staging)


def _publish_int8(
    shape: Shape, repository: Repository, fp32: Path, described: Manifest, info: CheckpointInfo
) -> None:
    form = quantize.weight_form()
    described = msgspec.structs.replace(described, precision=Precision.INT8, weight_form=form)
    with repository.reserve(f"{shape.name}-int8") as reservation:
        staging = reservation.staging
        staging.mkdir()
        quantize.quantize(fp32, staging, form)
        for path in fp32.glob("*tokenizer.json"):
            shutil.copy(path, staging)
        unproved = Artifact(staging, artifact.seal(staging, described))
        described = msgspec.structs.replace(described, self_test=agreement.self_test(unproved, _THREADS))
        _seal(staging, described)
        record = _record(reservation.name, reservation.number, info, Precision.INT8)
        reservation.publish(record)
    repository.set_alias(record.checkpoint, LIVE, record.number)


def _seal(staging: Path, described: Manifest) -> None:
    report = {
        "passed": False,
        "overridden": True,
        "reason": "random weights of a bench: the gate did not run",
    }
    (staging / REPORT).write_text(json.dumps(report), encoding="utf-8")
    artifact.seal(staging, msgspec.structs.replace(described, parity=_PARITY))


def _record(name: str, number: int, info: CheckpointInfo, precision: Precision) -> Record:
    return Record(
        checkpoint=name,
        number=number,
        state=VersionState.READY,
        architecture=info.architecture,
        family=info.family,
        task=info.task,
        precision=precision,
        digest=info.digest,
        create_time=time.time(),
        parity=_PARITY,
    )
