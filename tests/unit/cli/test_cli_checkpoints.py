"""`trine register`, `list`, `show`, `load`, `unload`, `delete`, `health`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Trine
from tests.unit.client.fake_server import VERSION, FakeServer
from trine.v1 import checkpoint_pb2


def test_register_makes_the_path_absolute(
    trine: Trine, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = trine(
        "register", "sentiment", "folder", "--task", "classification", "--precision", "fp32", "--hold"
    )
    assert result.exit_code == 0
    assert server.requests == [
        checkpoint_pb2.RegisterCheckpointRequest(
            name="sentiment",
            path=str(tmp_path / "folder"),
            task=checkpoint_pb2.TASK_CLASSIFICATION,
            precision=checkpoint_pb2.PRECISION_FP32,
            gate=checkpoint_pb2.GATE_ENFORCE,
            hold=True,
        )
    ]


@pytest.mark.parametrize(
    ("word", "number"),
    [("auto", checkpoint_pb2.PRECISION_UNSPECIFIED), ("int8", checkpoint_pb2.PRECISION_INT8)],
)
def test_register_with_a_precision_and_a_gate(
    trine: Trine, server: FakeServer, word: str, number: checkpoint_pb2.Precision
) -> None:
    assert trine("register", "x", "f", "--precision", word, "--gate", "report").exit_code == 0
    (request,) = server.requests
    assert (request.precision, request.gate) == (number, checkpoint_pb2.GATE_REPORT)
    refused = trine("register", "x", "f", "--gate", "open")
    assert refused.exit_code != 0
    assert "gate must be one of enforce, report" in refused.stderr


def test_register_tells_each_stage_once(trine: Trine) -> None:
    result = trine("register", "sentiment", "folder")
    assert result.stderr.splitlines() == [
        "read: at read",
        "export: at export",
        "verify: at verify",
        "publish: at publish",
    ]
    assert result.stdout == "sentiment:2 was registered before: live\n"


def test_register_for_machines(trine: Trine) -> None:
    found = json.loads(trine("register", "sentiment", "folder", "--json").stdout)
    assert (found["checkpoint"], found["number"], found["state"]) == ("sentiment", 2, "ready")


def test_a_version_that_the_gate_refused_is_a_failure(trine: Trine, server: FakeServer) -> None:
    failed = checkpoint_pb2.Version(
        checkpoint="x", number=1, state=checkpoint_pb2.VERSION_STATE_FAILED, reason="logits differ by 0.5"
    )
    server.registered = failed
    result = trine("register", "x", "folder")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: x:1 failed: logits differ by 0.5"
    assert result.stdout == ""


def test_list_has_a_row_for_each_version(trine: Trine) -> None:
    rows = trine("list").stdout.splitlines()
    assert rows[0].split() == ["version", "aliases", "task", "family", "state", "engine", "parity", "size"]
    assert len(rows) == 4
    assert rows[1].split() == [
        "sentiment:2",
        "classification",
        "encoder",
        "ready",
        "live",
        "passed",
        "16.5",
        "MB",
    ]


def test_list_for_machines(trine: Trine) -> None:
    found = json.loads(trine("list", "--json").stdout)
    assert [entry["name"] for entry in found] == ["alpha", "beta", "gamma"]
    assert found[0]["versions"][0]["create_time"].startswith("2026-09-21T")


def test_show_has_the_gates_figures(trine: Trine) -> None:
    text = trine("show", "sentiment").stdout
    assert text.startswith("sentiment:2  @live\n")
    for words in ("org/base cdcd", "reviews", "apache-2.0", "sentiment-en efef", "64 MB"):
        assert words in text
    for words in ("128 in", "4,000,000", "16.5 MB", "loaded in 0.25 s", "negative, positive", "restarts: 1"):
        assert words in text
    row = next(line for line in text.splitlines() if line.split()[:1] == ["logits"])
    assert row.split() == ["logits", "2.5e-07", "at", "most", "0.0001", "64", "yes"]
    found = json.loads(trine("show", "sentiment", "--json").stdout)
    assert found["versions"][0]["parity"]["checks"][0]["value"] == 2.5e-7


def test_show_says_which_precision_is_served_and_why(trine: Trine, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown() -> str:
        return " ".join(trine("show", "sentiment").stdout.split())

    assert " precision fp32 labels" in shown()
    version = checkpoint_pb2.Version()
    version.CopyFrom(VERSION)
    monkeypatch.setattr("tests.unit.client.fake_server.VERSION", version)
    version.precision_reason = "float32, because int8 is too far from it: int8_chrf 81"
    assert " precision fp32 (float32, because int8 is too far from it: int8_chrf 81) labels" in shown()
    version.precision, version.weight_form = checkpoint_pb2.PRECISION_INT8, "s8"
    version.precision_reason = ""
    version.parity.passed, version.parity.overridden = False, True
    assert " precision int8, weights s8 labels" in shown()
    assert " parity failed, overridden " in shown()


def test_load_unload_delete(trine: Trine, server: FakeServer) -> None:
    assert trine("load", "sentiment").stdout == "sentiment:2 is live\n"
    assert json.loads(trine("unload", "sentiment:2", "--json").stdout)["number"] == VERSION.number
    assert trine("delete", "sentiment:2").stdout == "sentiment:2 is deleted\n"
    assert json.loads(trine("delete", "sentiment", "--json").stdout) == {"deleted": "sentiment"}
    assert server.requests[-1] == checkpoint_pb2.DeleteCheckpointRequest(checkpoint="sentiment")


def test_health_is_an_exit_status(trine: Trine) -> None:
    serving = trine("health")
    assert (serving.exit_code, serving.stdout) == (0, "serving\n")
    broken = trine("health", "broken", "--json")
    assert (broken.exit_code, json.loads(broken.stdout)["status"]) == (1, "not-serving")
