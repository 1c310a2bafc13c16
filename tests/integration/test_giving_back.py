"""What loading takes, unloading gives back: memory, descriptors, processes; once, and over many cycles."""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

import pytest

from tests.integration.server import Server
from trine.client import Client
from trine.front.serving.handle import resident_bytes

NAMES = ("sentiment", "verse", "en-fr")


def children(server: Server) -> set[int]:
    """Processes whose parent is the server, dead ones that it has not reaped included."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == server.process.pid:
                found.add(int(folder.name))
    return found


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def memory(server: Server) -> int:
    """Bytes of the server and its engines, each shared page counted once."""
    return sum(resident_bytes(process) for process in {server.process.pid, *children(server)})


def used(client: Client) -> None:
    """Each checkpoint answers once, so that its buffers are touched."""
    assert client.classify("sentiment", "Fine.").labels
    assert client.generate("verse", "ROMEO:", max_new_tokens=16).text
    assert client.translate("en-fr", "Where is the station?").text


def test_unloading_gives_back_what_loading_took(repository_copy: Path, tmp_path: Path) -> None:
    """After one round, which leaves in the server what a first use leaves: modules, series, buffers."""
    with (
        Server(tmp_path / "server", repository_copy, load="none") as server,
        server.client() as client,
    ):
        server.wait_ready()
        readings = []
        for _ in range(2):
            before = memory(server)
            for name in NAMES:
                client.load(name)
            used(client)
            loaded = memory(server)
            shown = sum(version.resident_bytes for one in client.list() for version in one.versions)
            assert 0.7 < shown / (loaded - before) < 1.3
            for name in NAMES:
                client.unload(name)
            readings.append((before, loaded, memory(server)))
    before, loaded, after = readings[-1]
    given_back = (loaded - after) / (loaded - before)
    sys.stdout.write(
        f"took {(loaded - before) / 1e6:.1f} MB, gave back {given_back:.1%}; first round: {readings[0]}\n"
    )
    assert loaded - before > 100e6
    assert given_back > 0.95


def growth(readings: list[int]) -> float:
    """Bytes a cycle: the slope between all pairs (Theil and Sen), which a few jumps do not move."""
    pairs = [
        (later - earlier) / (j - i)
        for i, earlier in enumerate(readings)
        for j, later in enumerate(readings)
        if j > i
    ]
    return statistics.median(pairs)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("cycles", [6, pytest.param(200, marks=pytest.mark.proof)])
def test_cycles_of_loading_leave_nothing(repository_copy: Path, tmp_path: Path, cycles: int) -> None:
    """An engine is loaded, answers, is asked for its health and metrics, and is unloaded. The slope is a floor of the proof."""
    with (
        Server(tmp_path / "server", repository_copy, load="none", engine_threads=1) as server,
        server.client() as client,
    ):
        server.wait_ready()
        resident, open_before = [], 0
        for cycle in range(cycles):
            client.load("sentiment")
            assert client.classify("sentiment", "Fine.").labels
            assert 'checkpoint="sentiment"' in server.http("/metrics")[1]
            client.unload("sentiment")
            assert children(server) == set(), "an engine is left"
            resident.append(resident_bytes(server.process.pid))
            if cycle == 2:
                open_before = descriptors(server)
        assert descriptors(server) == open_before
        assert "trine_engine_state{" not in server.http("/metrics")[1]
    if cycles > 50:
        slope = growth(resident[50:]) / 1e6
        sys.stdout.write(
            f"{cycles} cycles: {slope * 1000:.1f} kB a cycle after the 50th; {resident[50]} to {resident[-1]}\n"
        )
        assert slope < 0.1
