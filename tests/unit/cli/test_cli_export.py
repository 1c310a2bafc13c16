"""`trine export` over an export that is played: where the artifact is then, and what is left when there is none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Trine
from tests.unit.engine.tasks.manifests import classifier
from trine import artifact
from trine.artifact import Parity, ParityCheck, Precision, Task
from trine.errors import UnsafeCheckpoint
from trine.export import launcher
from trine.export.launcher import Progress, Verdict
from trine.export.plan import ExportPlan, Gate

GOOD = ParityCheck("logits", 1e-6, 1e-4, False, True, 64)


@dataclass
class Export:
    parity: Parity = field(default_factory=lambda: Parity(True, (GOOD,)))
    refusal: Exception | None = None
    plans: list[ExportPlan] = field(default_factory=list)

    async def run(self, plan: ExportPlan) -> AsyncIterator[Progress]:
        self.plans.append(plan)
        yield Progress("export", 0.5, "half of it")
        (plan.staging / "model.onnx").write_text("graph")
        if self.refusal is not None:
            raise self.refusal
        artifact.seal(plan.staging, classifier(precision=Precision.INT8, parity=self.parity))
        yield Progress("verify", 1.0, "told", Verdict(self.parity.passed, "the figures"))


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Export:
    played = Export()
    monkeypatch.setattr(launcher, "run", played.run)
    return played


def test_the_artifact_is_sealed_and_alone(trine: Trine, export: Export, tmp_path: Path) -> None:
    result = trine("export", str(tmp_path), str(tmp_path / "out"))
    assert (result.exit_code, result.stderr) == (0, "export: half of it\nverify: told\n")
    assert "out is exported in int8: the figures" in " ".join(result.stdout.split())
    assert artifact.open_artifact(tmp_path / "out").manifest.parity.passed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    (plan,) = export.plans
    assert (plan.checkpoint, plan.task, plan.precision, plan.gate) == (tmp_path, None, None, Gate.ENFORCE)


def test_every_option_reaches_the_plan(trine: Trine, export: Export, tmp_path: Path) -> None:
    options = ("--task", "classification", "--precision", "int8", "--gate", "report", "--timeout", "5")
    result = trine("export", str(tmp_path), str(tmp_path / "out"), *options, "--json")
    assert json.loads(result.stdout)["precision"] == "int8"
    (plan,) = export.plans
    assert (plan.task, plan.precision, plan.gate, plan.timeout) == (
        *(Task.CLASSIFICATION, Precision.INT8, Gate.REPORT),
        5.0,
    )


def test_a_gate_that_fails_leaves_nothing(trine: Trine, export: Export, tmp_path: Path) -> None:
    export.parity = Parity(False, (GOOD,))
    result = trine("export", str(tmp_path), str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "the parity gate failed: the figures" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_gate_that_was_overridden_is_told(trine: Trine, export: Export, tmp_path: Path) -> None:
    export.parity = Parity(False, (GOOD,), overridden=True)
    result = trine("export", str(tmp_path), str(tmp_path / "out"), "--gate", "report")
    assert result.exit_code == 0
    assert "although its gate failed" in " ".join(result.stdout.split())


def test_a_refusal_leaves_nothing(trine: Trine, export: Export, tmp_path: Path) -> None:
    export.refusal = UnsafeCheckpoint("config.json is odd")
    result = trine("export", str(tmp_path), str(tmp_path / "out"))
    assert (result.exit_code, "UNSAFE_CHECKPOINT: config.json is odd" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(trine: Trine, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = trine("export", str(tmp_path), str(tmp_path / "out"))
    assert (result.exit_code, export.plans) == (1, [])
    assert "it is there already" in result.stderr


def test_a_place_where_nothing_can_be_is_told(trine: Trine, export: Export, tmp_path: Path) -> None:
    result = trine("export", str(tmp_path), str(tmp_path / "none" / "out"))
    assert (result.exit_code, export.plans) == (1, [])
    assert "no folder can be made there" in result.stderr


@pytest.mark.parametrize("option", [("--task", "chess"), ("--precision", "int3"), ("--gate", "open")])
def test_an_odd_option_is_a_usage_error(
    trine: Trine, export: Export, tmp_path: Path, option: tuple[str, str]
) -> None:
    result = trine("export", str(tmp_path), str(tmp_path / "out"), *option)
    assert (result.exit_code, export.plans) == (2, [])
