"""Tiny encoders of the three reading tasks, exported in this process and published as a registration would publish them."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from trine import artifact
from trine.artifact import Artifact, Family, Manifest, Precision, Task, open_artifact
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.unit.export import encoder_architectures as encoders
    from trine.export import agreement, probes, quantize, recipe
    from trine.export.plan import ExportPlan, Gate, inspect

HEADS = {
    Task.CLASSIFICATION: encoders.CLASSIFIER,
    Task.TOKEN_CLASSIFICATION: encoders.LABELER,
    Task.EMBEDDING: encoders.EMBEDDER,
}


@dataclass(frozen=True)
class Reader:
    """One published version, which its name tells."""

    task: Task
    precision: Precision

    @property
    def name(self) -> str:
        return f"{self.task}-{self.precision}"


def publish(root: Path, checkpoints: Path, *readers: Reader) -> None:
    """Each as version 1, live. Whether the gate lets random weights pass in int8 is no matter here."""
    repository = Repository(root)
    for reader in readers:
        with repository.reserve(reader.name) as reservation:
            reservation.staging.mkdir()
            fp32 = root / Reader(reader.task, Precision.FP32).name / "1" / "artifact"
            if reader.precision is Precision.INT8 and fp32.exists():
                _quantize(fp32, reservation.staging)
            else:
                _export(checkpoints / HEADS[reader.task], reader, reservation.staging)
            reservation.publish(_record(reader, open_artifact(reservation.staging).manifest))
        repository.set_alias(reader.name, "live", 1)


def _export(folder: Path, reader: Reader, staging: Path) -> None:
    if not folder.exists():
        encoders.build(HEADS[reader.task], folder)
    plan = ExportPlan(folder, staging, reader.task, reader.precision, Gate.REPORT)
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(probes, "PLAIN", probes.PLAIN[3:6])
        info = inspect(folder, reader.task, reader.precision, Gate.REPORT)
        recipe.export(plan, info, threads=1, told=lambda *_: None)


def _quantize(fp32: Path, staging: Path) -> None:
    """The same graphs once more: quicker than another export."""
    form = quantize.weight_form()
    quantize.quantize(fp32, staging, form)
    shutil.copy(fp32 / "tokenizer.json", staging)
    described = msgspec.structs.replace(
        open_artifact(fp32).manifest, precision=Precision.INT8, weight_form=form
    )
    unproved = Artifact(staging, artifact.seal(staging, described))
    own_test = agreement.self_test(unproved, threads=1)
    artifact.seal(staging, msgspec.structs.replace(described, self_test=own_test))


def _record(reader: Reader, manifest: Manifest) -> Record:
    return Record(
        checkpoint=reader.name,
        number=1,
        state=VersionState.READY,
        architecture=manifest.architecture,
        family=Family.ENCODER,
        task=reader.task,
        precision=reader.precision,
        digest=reader.name,
        create_time=0.0,
        parity=manifest.parity,
    )
