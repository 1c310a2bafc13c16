"""Registrations over an export that is played: what becomes of its verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.unit.engine.tasks.manifests import classifier
from trine import artifact
from trine.artifact import Family, Parity, ParityCheck, Precision, Task
from trine.config import Settings
from trine.errors import InvalidInput, NotPossible, RepositoryFull
from trine.export import launcher
from trine.export.launcher import Progress, Verdict
from trine.export.plan import CheckpointInfo, ExportPlan, Gate
from trine.front.serving import publisher
from trine.front.serving.administration import Administration
from trine.front.serving.pool import Pool
from trine.front.serving.publisher import Publisher
from trine.front.serving.rollout import Rollout
from trine.front.serving.views import VersionView
from trine.front.serving.watchers import Watchers
from trine.registry.records import Lineage, VersionState
from trine.registry.repository import Repository
from trine.registry.source import Folder, Hub
from trine.telemetry.metrics import Metrics

GOOD = ParityCheck("logits", 1e-6, 1e-4, False, True, 64)
BAD = ParityCheck("int8_chrf", 70.0, 90.0, True, False, 64)


@dataclass
class Export:
    """What the played export seals, and what it was asked."""

    precision: Precision = Precision.FP32
    parity: Parity = field(default_factory=lambda: Parity(True, (GOOD,)))
    why: str = ""
    plans: list[ExportPlan] = field(default_factory=list)

    async def run(self, plan: ExportPlan) -> AsyncIterator[Progress]:
        self.plans.append(plan)
        found = classifier(precision=self.precision, parity=self.parity, precision_reason=self.why)
        artifact.seal(plan.staging, found)
        yield Progress("quantize", 1.0, "weights quantized")
        yield Progress("verify", 1.0, "told", Verdict(self.parity.passed, "the figures"))


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Export:
    played = Export()

    def inspect(_: Path, task: Task | None, precision: Precision | None, gate: Gate) -> CheckpointInfo:
        return CheckpointInfo("X", Family.ENCODER, Task.CLASSIFICATION, 8, f"{precision} {gate}")

    monkeypatch.setattr(launcher, "run", played.run)
    monkeypatch.setattr(publisher, "inspect", inspect)
    return played


@pytest.fixture
def administration(tmp_path: Path) -> Administration:
    return administration_on("cpu", tmp_path)


async def register(
    administration: Administration,
    folder: Path,
    precision: Precision | None = None,
    gate: Gate = Gate.ENFORCE,
) -> tuple[VersionView, bool, str]:
    steps = administration.register(
        "x",
        Folder(str(folder)),
        task=None,
        precision=precision,
        gate=gate,
        hold=True,
        claims=Lineage("org/base", license="mit"),
    )
    last = [step async for step in steps][-1]
    assert last.version is not None
    return last.version, last.existing, last.message


async def test_without_a_precision_the_export_decides(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    export.precision = Precision.INT8
    version, _, message = await register(administration, tmp_path)
    assert (version.state, version.precision) == (VersionState.READY, Precision.INT8)
    assert message == "x:1 is ready in int8"
    assert [(plan.precision, plan.gate) for plan in export.plans] == [(None, Gate.ENFORCE)]


async def test_why_int8_was_not_chosen_is_shown(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    export.why = "float32, because int8 is too far from it: int8_chrf 70"
    version, _, _ = await register(administration, tmp_path)
    assert (version.state, version.precision) == (VersionState.READY, Precision.FP32)
    assert version.precision_reason == export.why
    assert version.reason == ""
    (shown,) = administration.get("x").versions
    assert shown.precision_reason == export.why


async def test_int8_asked_for_that_the_gate_refuses_is_failed(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    export.precision, export.parity = Precision.INT8, Parity(False, (GOOD, BAD))
    version, _, message = await register(administration, tmp_path, Precision.INT8)
    assert (version.state, version.precision) == (VersionState.FAILED, Precision.INT8)
    assert version.parity == export.parity
    assert message == "x:1 is failed: the figures"


async def test_an_overridden_gate_publishes_and_says_so(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    export.precision, export.parity = Precision.INT8, Parity(False, (GOOD, BAD), overridden=True)
    version, _, message = await register(administration, tmp_path, Precision.INT8, Gate.REPORT)
    assert version.state is VersionState.READY
    assert version.parity == export.parity
    assert message == "x:1 is ready in int8 although its gate failed"
    assert export.plans[0].gate is Gate.REPORT


async def test_each_recipe_is_a_version_of_its_own_and_is_found_again(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    recipes = [(None, Gate.ENFORCE), (Precision.FP32, Gate.ENFORCE), (Precision.FP32, Gate.REPORT)]
    for number, (precision, gate) in enumerate(recipes, start=1):
        for existing in (False, True):
            version, found, _ = await register(administration, tmp_path, precision, gate)
            assert (version.number, found) == (number, existing)


def test_a_record_written_before_int8_is_read() -> None:
    kept = msgspec.json.encode({"passed": True, "checks": []})
    assert msgspec.json.decode(kept, type=Parity) == Parity(True, (), overridden=False)


@pytest.mark.parametrize(
    ("provider", "asked", "planned"),
    [
        ("cpu", None, None),
        ("cpu", Precision.INT8, Precision.INT8),
        ("cuda", None, Precision.FP16),
        ("cuda", Precision.BF16, Precision.BF16),
    ],
)
async def test_a_precision_is_for_the_device_of_the_server(
    export: Export, tmp_path: Path, provider: str, asked: Precision | None, planned: Precision | None
) -> None:
    await register(administration_on(provider, tmp_path), tmp_path, asked)
    assert [(plan.precision, plan.device_id) for plan in export.plans] == [(planned, 3)]


@pytest.mark.parametrize(
    ("provider", "asked"),
    [("cpu", Precision.FP16), ("cpu", Precision.BF16), ("cuda", Precision.FP32), ("cuda", Precision.INT8)],
)
async def test_a_precision_of_another_device_is_refused(
    export: Export, tmp_path: Path, provider: str, asked: Precision
) -> None:
    with pytest.raises(
        InvalidInput, match=f"{asked} is for .*, and this server computes on {provider}"
    ) as raised:
        await register(administration_on(provider, tmp_path), tmp_path, asked)
    assert (raised.value.field, export.plans) == ("precision", [])


async def test_a_version_whose_gate_could_not_run_says_so(export: Export, tmp_path: Path) -> None:
    export.precision, export.parity = Precision.FP16, Parity(False, (), overridden=True)
    version, _, message = await register(administration_on("cuda", tmp_path), tmp_path, None, Gate.REPORT)
    assert version.state is VersionState.READY
    assert message == "x:1 is ready in fp16 although its gate could not run"


async def test_what_the_caller_claims_is_recorded(
    administration: Administration, export: Export, tmp_path: Path
) -> None:
    version, _, _ = await register(administration, tmp_path)
    assert version.lineage == Lineage("org/base", license="mit", source=tmp_path.name)


async def test_a_hub_that_is_not_there_is_refused(administration: Administration, export: Export) -> None:
    with pytest.raises(NotPossible, match="no hub is configured"):
        async for _ in administration.register(
            "x", Hub("org/x", "main"), task=None, precision=None, hold=True, claims=Lineage()
        ):
            pass
    assert export.plans == []


@pytest.mark.parametrize(("limit", "exports"), [(7, 0), (100, 1)])
async def test_a_full_repository_refuses_before_the_export_and_before_publishing(
    export: Export, tmp_path: Path, limit: int, exports: int
) -> None:
    administration = administration_on("cpu", tmp_path, max_repository_bytes=limit)
    with pytest.raises(RepositoryFull):
        await register(administration, tmp_path)
    assert len(export.plans) == exports
    assert not (tmp_path / "repository" / "x").exists()


async def test_versions_beyond_the_limit_go_after_a_publish(export: Export, tmp_path: Path) -> None:
    administration = administration_on("cpu", tmp_path, max_versions=2)
    for precision in (Precision.FP32, Precision.INT8, None):
        await register(administration, tmp_path, precision)
    assert [version.number for version in administration.get("x").versions] == [2, 3]


def administration_on(provider: str, folder: Path, **more: int) -> Administration:
    settings = Settings.model_validate(
        {
            "repository": folder / "repository",
            "import_root": folder,
            "provider": provider,
            "device_id": 3,
            **more,
        }
    )
    repository, metrics = Repository(folder / "repository"), Metrics()
    pool = Pool(repository, settings, metrics, lambda: None)
    rollout = Rollout(repository, pool, settings.load)
    publisher = Publisher(repository, pool, rollout, settings, metrics)
    return Administration(repository, pool, publisher, rollout, Watchers(repository, pool))
