"""The evil set over a real server, which answers with another checkpoint throughout."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.integration.server import CHECKPOINTS, Server
from tests.unit.export.evil_checkpoints import LOADED, READ, TOKENIZERS, bit_flips
from tests.unit.registry.evil import Evil
from trine.client import Client
from trine.errors import CheckpointRefused

HANDFUL = (READ[0], READ[4], TOKENIZERS[0], LOADED[0])
"""Of what the server reads, and of what the export process reads and loads."""


class Bystander(threading.Thread):
    """Classifies one text after another; every answer has to come."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._ended = threading.Event()
        self.seconds: list[float] = []
        self.errors: list[Exception] = []

    def run(self) -> None:
        while not self._ended.is_set():
            began = time.perf_counter()
            try:
                self._client.classify("sentiment", ["What a lovely day."])
            except Exception as error:
                self.errors.append(error)
            self.seconds.append(time.perf_counter() - began)
            self._ended.wait(0.02)

    def end(self) -> float:
        """p99 in milliseconds."""
        self._ended.set()
        self.join()
        assert self.errors == []
        return 1000 * sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))]


def register_all(server: Server, folder: Path, evils: list[Evil]) -> None:
    """Each is refused with its reason, and leaves nothing."""
    with server.client(timeout=300) as client:
        for number, evil in enumerate(evils):
            spoiled = Path(shutil.copytree(CHECKPOINTS / "sentiment-en", folder / f"evil-{number}"))
            evil.spoil(spoiled)
            with pytest.raises(CheckpointRefused) as refusal:
                list(client.register("evil", spoiled))
            assert evil.file in refusal.value.message, evil.name
            assert evil.rule in refusal.value.message, evil.name
            assert str(folder) not in refusal.value.message
            shutil.rmtree(spoiled)
        assert "evil" not in {info.name for info in client.list()}


def try_all(server: Server, folder: Path, evils: list[Evil]) -> None:
    server.wait_ready()
    with server.client() as client:
        alone = Bystander(client)
        alone.start()
        time.sleep(2)
        before = alone.end()
        beside = Bystander(client)
        beside.start()
        register_all(server, folder, evils)
        after = beside.end()
    sys.stdout.write(f"bystander p99 {before:.1f} ms alone, {after:.1f} ms beside {len(evils)} refusals\n")


@pytest.fixture
def own_server(repository_copy: Path, tmp_path: Path) -> Server:
    return Server(tmp_path / "server", repository_copy, import_root=tmp_path)


def test_a_handful_is_refused_while_others_are_answered(own_server: Server, tmp_path: Path) -> None:
    with own_server:
        try_all(own_server, tmp_path, list(HANDFUL))


@pytest.mark.proof
@pytest.mark.timeout(3000)
def test_the_whole_set_is_refused_while_others_are_answered(own_server: Server, tmp_path: Path) -> None:
    with own_server:
        try_all(own_server, tmp_path, [*READ, *TOKENIZERS, *LOADED])


@pytest.mark.proof
@pytest.mark.timeout(3000)
def test_flipped_bits_are_refused_or_fail_or_are_proved(own_server: Server, tmp_path: Path) -> None:
    """A bit in the middle of a weight makes another checkpoint, not an evil one."""
    with own_server, own_server.client(timeout=300) as client:
        for seed in range(20):
            spoiled = Path(shutil.copytree(CHECKPOINTS / "sentiment-en", tmp_path / f"flipped-{seed}"))
            bit_flips(seed)(spoiled)
            said, state = "", "refused"
            try:
                version = list(client.register(f"flipped-{seed}", spoiled, hold=True))[-1].version
                state = "" if version is None else version.state
            except CheckpointRefused as refusal:
                said = refusal.message
            assert state in {"refused", "ready", "failed"}
            assert str(tmp_path) not in said
