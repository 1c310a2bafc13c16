"""Artifacts that were exported elsewhere: what is published of them, and what is left where one is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.serving.test_publisher import publisher_of
from tests.unit.registry.evil_artifacts import good
from trine.artifact import MANIFEST
from trine.errors import (
    ArtifactCorrupt,
    CheckpointNotFound,
    CheckpointRefused,
    InvalidInput,
    NotLive,
    NotPossible,
    RepositoryFull,
    TrineError,
    UnsafeCheckpoint,
)
from trine.front.serving.rollout import Rollout
from trine.registry import imported
from trine.registry.records import Record, VersionState

MakeRoom = Callable[..., Room]


def listing(room: Room) -> set[str]:
    """Every file and folder but the mark of a number that was given, and what rings other servers."""
    found = {str(path.relative_to(room.repository.root)) for path in room.repository.root.rglob("*")}
    return {name for name in found if not name.startswith(".changed")}


async def test_what_is_published_is_a_copy_that_says_where_it_is_from(
    make_room: MakeRoom, tmp_path: Path
) -> None:
    room, folder = make_room(import_root=tmp_path), good(tmp_path / "artifact")
    record, existing = await publisher_of(room).import_artifact("a", str(folder), hold=True)
    assert (record.reference, record.state, existing) == ("a:1", VersionState.READY, False)
    assert (record.architecture, record.lineage.source) == ("BertForSequenceClassification", "artifact")
    assert record.parity is not None
    assert record.parity.passed
    shutil.rmtree(folder)
    published = imported.check(room.repository.artifact_folder(record))
    assert published.manifest.labels == ("bad", "good")
    room.repository.check_manifest(record)
    assert room.repository.checkpoint("a").aliases == {}
    assert 'trine_registrations_total{outcome="ready"} 1.0' in room.page()


async def test_the_same_files_are_the_same_version(make_room: MakeRoom, tmp_path: Path) -> None:
    room, folder = make_room(import_root=tmp_path), good(tmp_path / "artifact")
    first, _ = await publisher_of(room).import_artifact("a", str(folder), hold=True)
    before = listing(room)
    second, existing = await publisher_of(room).import_artifact("a", str(folder), hold=True)
    assert (second, existing) == (first, True)
    assert listing(room) == before


def linked(folder: Path) -> None:
    (folder / "report.json").unlink()
    (folder / "report.json").symlink_to("/etc/passwd")


def with_second_name(folder: Path) -> None:
    (folder.parent / "other").hardlink_to(folder / "report.json")


def without_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def flipped(folder: Path) -> None:
    path = folder / "model.onnx.data"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def crowded(folder: Path) -> None:
    for number in range(20):
        (folder / f"{number}.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "error", "word"),
    [
        (linked, UnsafeCheckpoint, "report.json"),
        (with_second_name, UnsafeCheckpoint, "hard link"),
        (without_manifest, ArtifactCorrupt, "not an artifact"),
        (flipped, ArtifactCorrupt, "model.onnx.data"),
        (crowded, UnsafeCheckpoint, "more than 16 files"),
        (lambda folder: (folder / "code.py").write_text(""), UnsafeCheckpoint, "code.py"),
        (lambda folder: (folder / "inner").mkdir(), UnsafeCheckpoint, "no plain file"),
        (shutil.rmtree, ArtifactCorrupt, "cannot be read"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    make_room: MakeRoom,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    error: type[TrineError],
    word: str,
) -> None:
    room, folder = make_room(import_root=tmp_path), good(tmp_path / "artifact")
    before = listing(room)
    spoil(folder)
    with pytest.raises(error) as caught:
        await publisher_of(room).import_artifact("a", str(folder), hold=False)
    assert word in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert listing(room) == before
    assert 'trine_registrations_total{outcome="refused"} 1.0' in room.page()


async def test_only_from_below_the_import_root(make_room: MakeRoom, tmp_path: Path) -> None:
    good(tmp_path / "artifact")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "artifact")
    room = make_room(import_root=tmp_path / "root")
    for path in ("artifact", "root/link"):
        with pytest.raises(InvalidInput) as caught:
            await publisher_of(room).import_artifact("a", str(tmp_path / path), hold=True)
        assert caught.value.field == "path"


async def test_one_for_another_device_is_refused(make_room: MakeRoom, tmp_path: Path) -> None:
    room, folder = make_room(import_root=tmp_path, provider="cuda"), good(tmp_path / "artifact")
    before = listing(room)
    with pytest.raises(NotPossible, match="the artifact is for cpu, and this server computes on cuda"):
        await publisher_of(room).import_artifact("a", str(folder), hold=True)
    assert listing(room) == before


async def test_a_full_repository_refuses_before_the_copy(make_room: MakeRoom, tmp_path: Path) -> None:
    room, folder = make_room(import_root=tmp_path, max_repository_bytes=100), good(tmp_path / "artifact")
    before = listing(room)
    with pytest.raises(RepositoryFull):
        await publisher_of(room).import_artifact("a", str(folder), hold=True)
    assert listing(room) == before


@pytest.mark.parametrize(("error", "stays"), [(ArtifactCorrupt, False), (NotLive, True)])
async def test_only_one_whose_self_test_fails_is_taken_away_again(
    make_room: MakeRoom,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[TrineError],
    stays: bool,
) -> None:
    room, folder = make_room(import_root=tmp_path), good(tmp_path / "artifact")

    async def move(*_: object, load: bool) -> None:
        raise error("it does not load")

    monkeypatch.setattr(Rollout, "move", move)
    with pytest.raises(error):
        await publisher_of(room).import_artifact("a", str(folder), hold=False)
    assert (room.repository.root / "a" / "1").exists() is stays
    if stays:
        assert room.repository.checkpoint("a").aliases == {}
    else:
        with pytest.raises(CheckpointNotFound):
            room.repository.checkpoint("a")


async def test_one_that_was_there_before_stays_though_it_does_not_load(
    make_room: MakeRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, folder = make_room(import_root=tmp_path), good(tmp_path / "artifact")
    await publisher_of(room).import_artifact("a", str(folder), hold=True)

    async def move(_: Rollout, name: str, alias: str, record: Record, *, load: bool) -> None:
        assert (name, alias, record.number, load) == ("a", "live", 1, True)
        raise ArtifactCorrupt("it does not load")

    monkeypatch.setattr(Rollout, "move", move)
    with pytest.raises(CheckpointRefused):
        await publisher_of(room).import_artifact("a", str(folder), hold=False)
    assert list(room.repository.checkpoint("a").versions) == [1]
