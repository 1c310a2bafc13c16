"""`trine register hub:...`, `import`, `alias`, `watch`, `report`, `architectures`, and what `list` is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Trine
from tests.unit.client.fake_server import FakeServer
from trine.v1 import checkpoint_pb2 as pb


def test_register_from_the_hub_with_claims(trine: Trine, server: FakeServer) -> None:
    result = trine(
        *("register", "x", "hub:org/name", "--revision", "v2", "--base", "org/base"),
        *("--training-data", "reviews", "--license", "mit"),
    )
    assert result.exit_code == 0
    assert server.requests == [
        pb.RegisterCheckpointRequest(
            name="x",
            hub=pb.HubSource(repo_id="org/name", revision="v2"),
            gate=pb.GATE_ENFORCE,
            base_checkpoint="org/base",
            training_data="reviews",
            license="mit",
        )
    ]


def test_a_folder_may_be_called_like_a_hub(
    trine: Trine, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trine("register", "x", "./hub:name").exit_code == 0
    assert server.requests[0].path == str(tmp_path / "hub:name")


def test_a_folder_has_no_revision(trine: Trine, server: FakeServer) -> None:
    result = trine("register", "x", "folder", "--revision", "v2")
    assert (result.exit_code, server.requests) == (1, [])
    assert "a folder has no revision" in result.stderr


def test_import_makes_the_path_absolute(
    trine: Trine, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trine("import", "x", "artifact", "--hold").stdout == "sentiment:2 was registered before: live\n"
    assert server.requests == [
        pb.ImportCheckpointRequest(name="x", path=str(tmp_path / "artifact"), hold=True)
    ]
    assert json.loads(trine("import", "x", "artifact", "--json").stdout)["number"] == 2


def test_aliases(trine: Trine, server: FakeServer) -> None:
    set_ = trine("alias", "set", "sentiment:1", "canary")
    assert set_.stdout == "sentiment@canary is sentiment:1\nsentiment@live is sentiment:2\n"
    assert trine("alias", "delete", "sentiment@canary").stdout == "sentiment@live is sentiment:2\n"
    assert server.requests == [
        pb.SetAliasRequest(checkpoint="sentiment:1", alias="canary"),
        pb.DeleteAliasRequest(checkpoint="sentiment@canary"),
    ]
    assert json.loads(trine("alias", "set", "sentiment:1", "x", "--json").stdout)["aliases"]["x"] == 1
    assert json.loads(trine("alias", "delete", "sentiment@x", "--json").stdout)["aliases"] == {"live": 2}


def test_watch_prints_what_is_there_and_what_changes(trine: Trine) -> None:
    assert trine("watch").stdout.splitlines() == [
        "sentiment:2 @live is ready, live",
        "-- from here on: changes",
        "gone is deleted",
    ]


def test_watch_for_machines_is_an_object_a_line(trine: Trine) -> None:
    first, second, third = map(json.loads, trine("watch", "--json").stdout.splitlines())
    assert first["checkpoint"]["versions"][0]["lineage"]["license"] == "apache-2.0"
    assert (second["current"], third["deleted"], third["checkpoint"]["name"]) == (True, True, "gone")


def test_report(trine: Trine, server: FakeServer) -> None:
    text = trine("report", "sentiment:2").stdout
    for words in (
        "proved equal to the checkpoint",
        "onnx 1.20, torch 2.13.0",
        "export 2.5 s",
        "network namespace",
        "descriptors 256",
        "logits",
    ):
        assert words in text
    assert json.loads(trine("report", "sentiment", "--json").stdout)["packages"]["onnx"] == "1.20"
    server.reports.clear()
    missing = trine("report", "sentiment")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr == "error: sentiment has no report of its export\n"


def test_architectures(trine: Trine) -> None:
    rows = trine("architectures").stdout.splitlines()
    assert rows[0].split() == ["architecture", "family", "tasks"]
    assert rows[1].split() == [
        "T5ForConditionalGeneration",
        "encoder-decoder",
        "translation,",
        "summarization",
    ]
    assert json.loads(trine("architectures", "--json").stdout)[0]["tasks"] == ["translation", "summarization"]


def test_list_is_filtered(trine: Trine, server: FakeServer) -> None:
    server.pages = [["alpha"]]
    options = ("--task", "embedding", "--family", "encoder", "--state", "failed", "--base", "org/base")
    assert trine("list", *options).exit_code == 0
    assert server.requests == [
        pb.ListCheckpointsRequest(
            task=pb.TASK_EMBEDDING,
            family=pb.FAMILY_ENCODER,
            state=pb.VERSION_STATE_FAILED,
            base_checkpoint="org/base",
        )
    ]
    refused = trine("list", "--state", "cooking")
    assert refused.exit_code == 1
    assert "state must be one of exporting, verifying, ready, failed" in refused.stderr
