"""A registration's path, and its end when its caller leaves; the export itself is a stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.unit.front.serving.room import Room
from trine.artifact import Family, Precision, Task
from trine.errors import CheckpointNotFound, InvalidInput
from trine.export import launcher
from trine.export.plan import CheckpointInfo
from trine.front.serving import publisher
from trine.front.serving.publisher import Publisher
from trine.front.serving.views import Progress
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.reservation import Reservation
from trine.registry.source import Folder

MakeRoom = Callable[..., Room]


def publisher_of(room: Room) -> Publisher:
    return Publisher(room.repository, room.pool, room.rollout, room.settings, room.metrics)


async def register(room: Room, path: str) -> None:
    steps = publisher_of(room).register(
        "a", Folder(path), task=None, precision=Precision.FP32, hold=True, claims=Lineage()
    )
    async with contextlib.aclosing(steps):
        async for _ in steps:
            pass


@pytest.mark.parametrize("path", ["relative", "/a\0b", "/{root}/../..", "/{root}/loop"])
async def test_a_path_that_leads_nowhere_names_its_field(
    make_room: MakeRoom, tmp_path: Path, path: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    room = make_room(import_root=tmp_path)
    with pytest.raises(InvalidInput) as caught:
        await register(room, path.replace("/{root}", str(tmp_path)))
    assert caught.value.field == "path"
    assert str(tmp_path) not in caught.value.message


class SlowExport:
    """An export that succeeds, and a conclusion that takes until `go`; `begun` tells that its thread runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        info = CheckpointInfo("BertForSequenceClassification", Family.ENCODER, Task.CLASSIFICATION, 1, "d")
        monkeypatch.setattr(publisher, "inspect", lambda *_: info)
        monkeypatch.setattr(launcher, "run", self.run)
        monkeypatch.setattr(publisher, "_conclude", self.conclude)

    async def run(self, plan: object) -> AsyncGenerator[launcher.Progress, None]:
        yield launcher.Progress("verify", 1.0, "proved", launcher.Verdict(True, "proved"))

    def conclude(self, reservation: Reservation, record: Record, _: launcher.Verdict) -> Record:
        (reservation.staging / "weights").write_text("all")
        self.begun.set()
        assert self.go.wait(10)
        record = msgspec.structs.replace(record, state=VersionState.READY)
        reservation.publish(record)
        return record


async def test_a_caller_who_leaves_amid_the_publishing_leaves_a_whole_version(
    make_room: MakeRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(import_root=tmp_path)
    export = SlowExport(monkeypatch)
    registering = asyncio.create_task(register(room, str(tmp_path)))
    await asyncio.to_thread(export.begun.wait, 10)
    registering.cancel()
    done, _ = await asyncio.wait({registering}, timeout=0.05)
    export.go.set()
    await asyncio.gather(registering, return_exceptions=True)
    assert not done, "it waits for its thread"
    (record,) = room.repository.checkpoint("a").versions.values()
    assert (room.repository.artifact_folder(record) / "weights").read_text() == "all"


async def test_a_caller_who_leaves_before_leaves_nothing(
    make_room: MakeRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(import_root=tmp_path)
    SlowExport(monkeypatch)
    steps = publisher_of(room).register(
        "a", Folder(str(tmp_path)), task=None, precision=Precision.FP32, hold=True, claims=Lineage()
    )
    async for step in steps:
        if isinstance(step, Progress) and step.stage == "verify":
            break
    await steps.aclose()
    with pytest.raises(CheckpointNotFound):
        room.repository.checkpoint("a")
    assert not (room.repository.root / "a").exists()


async def test_a_held_version_has_a_health_at_once(
    make_room: MakeRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(import_root=tmp_path)
    SlowExport(monkeypatch).go.set()
    told: list[tuple[str, bool | None]] = []
    room.status.subscribe(lambda name, serving: told.append((name, serving)))
    await register(room, str(tmp_path))
    assert ("a", False) in told
