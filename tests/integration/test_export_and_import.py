"""`trine export` on a machine without a server, `import` on one that serves; and an artifact whose self-test is a lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.integration.server import CHECKPOINTS, Server
from tests.integration.versions import rewrite
from trine.artifact import Manifest
from trine.client import Client
from trine.errors import ArtifactCorrupt, CheckpointNotFound


def imported(client: Client, name: str, folder: Path) -> str:
    version, existing = client.import_artifact(name, folder)
    assert not existing
    return version.engine_state


def with_a_lie(manifest: Manifest) -> Manifest:
    outputs = [[value + 1 for value in row] for row in manifest.self_test.outputs]
    lie = msgspec.structs.replace(manifest.self_test, outputs=outputs)
    return msgspec.structs.replace(manifest, self_test=lie)


def test_an_artifact_goes_live_unless_its_self_test_fails(repository: Path, tmp_path: Path) -> None:
    good = Path(shutil.copytree(repository / "sentiment" / "1" / "artifact", tmp_path / "good"))
    bad = Path(shutil.copytree(good, tmp_path / "bad"))
    rewrite(bad, with_a_lie)
    with (
        Server(tmp_path / "server", tmp_path / "new", import_root=tmp_path, engine_threads=1) as server,
        server.client() as client,
    ):
        assert imported(client, "x", good) == "live"
        for name in ("x", "y"):
            with pytest.raises(ArtifactCorrupt, match="self-test"):
                client.import_artifact(name, bad)
        assert client.classify("x", "Fine.").checkpoint == "x:1"
        assert [version.number for version in client.get("x").versions] == [1]
        with pytest.raises(CheckpointNotFound):
            client.get("y")


@pytest.mark.proof
def test_what_is_exported_by_itself_is_served_elsewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "trine.cli",
        "export",
        str(CHECKPOINTS / "sentiment-en"),
        str(tmp_path / "out"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    with (
        Server(tmp_path / "server", tmp_path / "new", import_root=tmp_path, engine_threads=1) as server,
        server.client() as client,
    ):
        assert imported(client, "x", tmp_path / "out") == "live"
        assert client.classify("x", "A wonderful film.").labels[0].name == "positive"
