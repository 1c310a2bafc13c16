"""One tiny checkpoint of each family, exported once for all tests of this room."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.unit.export import encoder_architectures, tiny
    from trine.artifact import Artifact, Task, open_artifact
    from trine.export import probes, recipe
    from trine.export.gate import Report
    from trine.export.plan import ExportPlan, inspect


@dataclass(frozen=True)
class Exported:
    folder: Path
    artifact: Artifact
    report: Report
    told: list[tuple[str, float]]


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tiny.bert, tmp_path_factory.mktemp("bert"))


Encoders = Callable[[str], Exported]
FEW = probes.PLAIN[3:15]
"""With the six that grow to the whole context and beyond; all 64 texts are proved in test_recipe."""


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """Exports an encoder of the matrix when it is first asked for, proved on few texts."""
    known: dict[str, Exported] = {}

    def find(name: str) -> Exported:
        if name not in known:
            root = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(probes, "PLAIN", FEW)
                known[name] = export(lambda folder: encoder_architectures.build(name, folder), root)
        return known[name]

    return find


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tiny.gpt2, tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tiny.marian, tmp_path_factory.mktemp("marian"))


def export(build: Callable[[Path], Path], root: Path, task: Task | None = None) -> Exported:
    told: list[tuple[str, float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, staging = build(root / "checkpoint"), root / "artifact"
        staging.mkdir()
        report = recipe.export(
            ExportPlan(folder, staging, task),
            inspect(folder, task),
            threads=1,
            told=lambda stage, fraction, _: told.append((stage, fraction)),
        )
    return Exported(folder, open_artifact(staging), report, told)
