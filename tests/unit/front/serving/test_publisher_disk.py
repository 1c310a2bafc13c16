"""The disk is full when a version that was exported and proved is to be published; the export itself is a stand-in."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.serving.test_inference import classify
from tests.unit.front.serving.test_publisher import SlowExport, register
from trine import artifact
from trine.errors import RepositoryFull
from trine.registry import layout

MakeRoom = Callable[..., Room]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["record", "rename"])
async def test_nothing_is_half_published(
    make_room: MakeRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    room = make_room(import_root=tmp_path)
    await room.loaded("a")
    before = sorted(path.name for path in (room.repository.root / "a").iterdir())
    SlowExport(monkeypatch).go.set()
    if step == "rename":
        monkeypatch.setattr(artifact, "publish", full)
    else:
        write = layout.replace

        def replace(path: Path, content: bytes) -> None:
            if b'"ready"' in content:
                full()
            write(path, content)

        monkeypatch.setattr(layout, "replace", replace)
    with pytest.raises(RepositoryFull):
        await register(room, str(tmp_path))
    assert sorted(path.name for path in (room.repository.root / "a").iterdir()) == before
    assert list(room.repository.checkpoint("a").versions) == [1]
    assert await classify(room, "x") == ["x"]
