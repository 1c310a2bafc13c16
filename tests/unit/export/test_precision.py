"""int8 artifacts of each family: exported, proved against float32, chosen or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.unit.export import tiny
from tests.unit.export.conftest import Exported
from trine import artifact
from trine.artifact import REPORT, Artifact, Family, Parity, Precision
from trine.engine.runtime import selftest
from trine.engine.runtime.encoder import EncoderRunner
from trine.export import agreement, gate, quantize, recipe
from trine.export.gate import Report
from trine.export.plan import ExportPlan, Gate, inspect
from trine.export.walk import Walker

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

BUILDERS: dict[str, Callable[[Path], Path]] = {"bert": tiny.bert, "gpt2": tiny.gpt2, "marian": tiny.marian}


def export(
    root: Path, folder: Path, precision: Precision | None, verdict: Gate
) -> tuple[Report, Artifact, list[str]]:
    staging = root / "staging"
    staging.mkdir()
    stages: list[str] = []
    report = recipe.export(
        ExportPlan(folder, staging, precision=precision, gate=verdict),
        inspect(folder, None, precision, verdict),
        threads=1,
        told=lambda stage, *_: stages.append(stage),
    )
    assert [path for path in root.iterdir() if path.name.startswith(".int8-")] == []
    return report, artifact.open_artifact(staging), list(dict.fromkeys(stages))


def quantized(exported: Exported, folder: Path) -> Artifact:
    """An int8 artifact made of a float32 one, with its own self-test."""
    folder.mkdir()
    quantize.quantize(exported.artifact.folder, folder, quantize.weight_form())
    int8 = Artifact(folder, artifact.seal(folder, exported.artifact.manifest))
    own = agreement.self_test(int8, threads=1)
    return Artifact(folder, msgspec.structs.replace(int8.manifest, self_test=own))


def drift(int8: Artifact) -> float:
    encoder = int8.manifest.family is Family.ENCODER
    return selftest.drift(int8, EncoderRunner(int8, 1) if encoder else Walker.of(int8, 1).runner)


def operators_of(found: Artifact, file: str) -> list[str]:
    return [node.op_type for node in onnx.load(str(found.path(file)), load_external_data=False).graph.node]


@pytest.mark.parametrize("name", BUILDERS)
def test_int8_asked_for_is_exported_whatever_comes_of_it(tmp_path: Path, name: str) -> None:
    """Tiny checkpoints of random weights: whether the gate passes is not the point, but what the artifact says of it."""
    folder = BUILDERS[name](tmp_path / "checkpoint")
    report, found, stages = export(tmp_path, folder, Precision.INT8, Gate.REPORT)
    manifest = found.manifest
    assert stages == ["read", "export", "optimize", "quantize", "verify"]
    assert (manifest.precision, manifest.weight_form) == (Precision.INT8, quantize.weight_form())
    assert manifest.parity == report.parity
    assert manifest.parity.overridden is not manifest.parity.passed
    checks = {check.name: check for check in report.checks}
    family = {"int8_labels", "int8_scores"} if name == "bert" else {"int8_best_token", "int8_chrf"}
    assert family | {"logits", "int8_batch_logits", "int8_self_test"} <= set(checks)
    assert checks["int8_batch_logits"].value == 0
    assert checks["int8_self_test"].passed
    for file in (name for name in manifest.files if name.endswith(".onnx")):
        operators = operators_of(found, file)
        assert "MatMulIntegerToFloat" in operators
        assert "MatMul" not in operators
        # what reads the same rows is one product, as q, k and v, which GPT-2 projects in one of its own
        assert operators.count("MatMulIntegerToFloat") == operators.count("QuantizeLinear")
    kept = json.loads(found.path(REPORT).read_text())
    assert kept["int8"]["gate_limits"]["chrf"] == 90
    assert [check["name"] for check in kept["checks"]] == list(checks)


@pytest.mark.parametrize("passes", [True, False])
def test_without_a_precision_the_gate_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    monkeypatch.setattr(gate, "INT8", replace(gate.INT8, labels=0.0, scores=1.0 if passes else -1.0))
    report, found, _ = export(tmp_path, tiny.bert(tmp_path / "checkpoint"), None, Gate.ENFORCE)
    assert report.passed
    manifest, kept = found.manifest, json.loads(found.path(REPORT).read_text())
    assert kept["int8"]["passed"] is passes
    assert ("MatMulIntegerToFloat" in operators_of(found, "model.onnx")) is passes
    if passes:
        assert (manifest.precision, manifest.precision_reason) == (Precision.INT8, "")
        assert "close to float32" in report.reason
    else:
        assert (manifest.precision, manifest.weight_form) == (Precision.FP32, None)
        assert "int8_scores" in manifest.precision_reason
        assert not any(check.name.startswith("int8") for check in report.checks)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_self_test_is_int8s_own_answer_and_catches_a_wrong_kernel(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    int8 = quantized(request.getfixturevalue(name), tmp_path / "int8")
    tolerance = int8.manifest.self_test.tolerance
    assert tolerance == gate.INT8.self_test
    assert drift(int8) == 0
    for path in int8.folder.glob("*.onnx"):
        model = onnx.load(str(path), load_external_data=False)
        (zero,) = (tensor for tensor in model.graph.initializer if tensor.name == "int8.zero")
        zero.CopyFrom(numpy_helper.from_array(np.uint8(112), zero.name))
        path.write_bytes(model.SerializeToString())
    assert drift(int8) > tolerance


def test_float32_agrees_with_itself(gpt2: Exported) -> None:
    same = agreement.prove(gpt2.artifact, gpt2.artifact, gpt2.folder, threads=1, told=lambda _: None)
    assert {check.name: check.value for check in same.checks} == {
        "int8_best_token": 1,
        "int8_chrf": 100,
        "int8_batch_logits": pytest.approx(0, abs=1e-6),
        "int8_self_test": pytest.approx(0, abs=1e-5),
    }


def test_an_artifact_of_other_weights_does_not_agree(gpt2: Exported, tmp_path: Path) -> None:
    int8 = quantized(gpt2, tmp_path / "int8")
    data = tmp_path / "int8" / "model.onnx.data"
    data.write_bytes(data.read_bytes()[::-1])
    found = agreement.prove(gpt2.artifact, int8, gpt2.folder, threads=1, told=lambda _: None)
    failed = {check.name for check in found.checks if not check.passed}
    assert {"int8_best_token", "int8_chrf", "int8_self_test"} <= failed
    assert "int8_chrf" in found.figures
    assert "int8_chrf" in found.reason


def test_a_verdict_is_overridden_only_where_it_failed() -> None:
    report = Report(gate.FP32, overridden=True)
    report.share("labels", [True], 1.0)
    assert report.parity == Parity(True, tuple(report.checks), overridden=False)
    report.share("texts", [False], 1.0)
    assert report.parity == Parity(False, tuple(report.checks), overridden=True)


def test_the_digest_knows_the_precision_and_the_gate(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "checkpoint")
    digests = {
        inspect(folder, None, precision, verdict).digest
        for precision in (None, Precision.FP32, Precision.INT8)
        for verdict in Gate
    }
    assert len(digests) == 6


@pytest.mark.parametrize("precision", [None, Precision.INT8])
def test_a_plan_takes_its_precision_and_gate_to_the_child(
    tmp_path: Path, precision: Precision | None
) -> None:
    sent = ExportPlan(tmp_path, tmp_path, precision=precision, gate=Gate.REPORT)
    assert ExportPlan.from_json(sent.to_json()) == sent
