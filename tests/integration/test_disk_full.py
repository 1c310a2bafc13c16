"""The repository is on a disk of 64 MB that fills up: whatever was begun fails with the reason, and leaves things as they were.

The disk is a tmpfs in a mount namespace of the server's own; its process is how the tests reach it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.server import CHECKPOINTS, Server
from tests.integration.versions import add_version, with_other_labels
from trine.client import Client
from trine.errors import ExportFailed, RepositoryFull, TrineError

SCRIPT = 'mount -t tmpfs -o size=64m tmpfs "$0" && cp -r "$1"/. "$0"/ && shift && exec "$@"'


class Disk:
    """The server's volume, as it sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self, leave: int = 0) -> None:
        """Until `leave` bytes are free."""
        found = os.statvfs(self.root)
        with (
            contextlib.suppress(OSError),
            (self.root / "filler").open("ab") as file,
        ):  # it may be full already
            file.write(bytes(max(0, found.f_bavail * found.f_frsize - leave)))

    def free(self) -> None:
        (self.root / "filler").unlink(missing_ok=True)

    def listing(self) -> set[str]:
        """Every file and folder; what rings other servers is no part of the state."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in found if name not in {"filler", ".changed", ".lock"}}


@pytest.fixture
def server(repository_copy: Path, tmp_path: Path) -> Iterator[Server]:
    """With sentiment:1, which is live, and sentiment:2."""
    add_version(repository_copy, "sentiment", with_other_labels)
    source, volume = repository_copy.rename(tmp_path / "source"), tmp_path / "volume"
    volume.mkdir()
    allowed = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(volume)]
    if subprocess.run(allowed, capture_output=True, check=False, timeout=30).returncode != 0:
        pytest.skip("no mount namespace can be made here")
    wrapper = ["unshare", "-rm", "sh", "-ec", SCRIPT, str(volume), str(source)]
    with Server(tmp_path / "server", volume, wrapper=wrapper, import_root="/", engine_threads=1) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def disk(server: Server, tmp_path: Path) -> Disk:
    return Disk(Path(f"/proc/{server.process.pid}/root{tmp_path}/volume"))


def answers(client: Client) -> bool:
    return client.classify("sentiment", "Fine.").labels[0].name == "positive"


def test_what_changes_the_repository_fails_whole(server: Server, disk: Disk) -> None:
    with server.client() as client:
        disk.fill()
        before = disk.listing()
        attempts: list[Callable[[], object]] = [
            lambda: client.set_alias("sentiment:2", "live"),
            lambda: client.set_alias("sentiment:2", "canary"),
            lambda: client.delete_alias("sentiment@live"),
            lambda: list(client.register("other", CHECKPOINTS / "sentiment-en")),
        ]
        for attempt in attempts:
            with pytest.raises(RepositoryFull):
                attempt()
            assert answers(client)
        assert disk.listing() == before
        assert client.get("sentiment").aliases == {"live": 1}
        states = [version.engine_state for version in client.get("sentiment").versions]
        assert states[0] == "live"
        client.unload("sentiment:2")
        client.delete("sentiment:2")  # which is how room is made
        disk.free()
        assert client.set_alias("sentiment:1", "canary").aliases == {"live": 1, "canary": 1}


def test_an_import_fails_whole(server: Server, disk: Disk, repository: Path) -> None:
    """Somewhere in the middle of its copy."""
    artifact = repository / "sentiment" / "1" / "artifact"
    with server.client() as client:
        disk.fill(leave=2 << 20)
        before = disk.listing()
        with pytest.raises(RepositoryFull):
            client.import_artifact("other", artifact)
        assert disk.listing() == before
        assert answers(client)


@pytest.mark.proof
@pytest.mark.parametrize("stage", ["export", "quantize", "verify"])
def test_a_registration_fails_whole(server: Server, disk: Disk, stage: str) -> None:
    """The disk is full from this stage on."""
    with server.client(timeout=600) as client:
        before = disk.listing()
        with pytest.raises(TrineError) as caught:
            for step in client.register("other", CHECKPOINTS / "sentiment-en"):
                if step.stage == stage:
                    disk.fill()
                assert step.version is None
        assert isinstance(caught.value, ExportFailed | RepositoryFull)
        assert "disk" in caught.value.message
        assert "full" in caught.value.message
        assert disk.listing() == before
        assert answers(client)
        disk.free()
        assert list(client.register("other", CHECKPOINTS / "sentiment-en"))[-1].version is not None
