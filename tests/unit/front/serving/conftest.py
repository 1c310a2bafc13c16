"""Rooms whose engines are real processes over real sockets that run no graph."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.unit.front.serving.room import Room
from trine.config import Settings
from trine.front.serving import handle


@pytest.fixture
async def make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Room]]:
    """Rooms whose engines are ended after the test."""

    def command(folder: Path, settings: Settings) -> list[str]:
        (mode,) = folder.iterdir()
        program = Path(__file__).with_name("fake_engine.py")
        return [sys.executable, str(program), "--artifact", str(mode)]

    monkeypatch.setattr(handle, "engine_command", command)
    rooms: list[Room] = []

    def make(**settings: object) -> Room:
        rooms.append(Room(tmp_path / f"repository-{len(rooms)}", **settings))
        return rooms[-1]

    yield make
    for room in rooms:
        await room.pool.close(0.0)
