"""An alias moves from version to version under load, on a caller's word or another server's; and nothing is kept of what is gone."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.unit.front.serving.room import Room, engine_of, is_gone
from tests.unit.front.serving.test_inference import classify, writing
from tests.unit.front.serving.traffic import Traffic
from tests.unit.front.waiting import until
from trine.artifact import Task
from trine.errors import CheckpointNotFound, NotLive, NotPossible, Overloaded, TrineError
from trine.front.serving import rollout
from trine.front.serving.reading import Classifying
from trine.front.serving.views import EngineState
from trine.front.serving.work import Caller
from trine.registry.records import Record
from trine.registry.repository import Repository

MakeRoom = Callable[..., Room]


async def asked(room: Room, reference: str = "a", text: str = "x") -> str:
    """The version that answers."""
    reading = Classifying(texts=[text])
    version, _ = await room.inference.answer(reference, reading, caller=Caller("me", 2, 5.0))
    return version


async def test_a_move_loads_the_new_version_and_ends_the_old_one(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    second = room.publish("a", alias=None)
    process = engine_of(room, first)
    await room.rollout.move("a", "live", second)
    assert await asked(room) == "a:2"
    await until(lambda: room.pool.view(first).state is EngineState.UNLOADED)
    assert is_gone(process)
    assert room.repository.checkpoint("a").aliases == {"live": 2}


async def test_moving_back_is_the_rollback(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    second = room.publish("a", alias=None)
    await room.rollout.move("a", "live", second)
    await room.rollout.move("a", "live", first)
    assert await asked(room) == "a:1"
    await until(lambda: room.pool.view(second).state is EngineState.UNLOADED)
    assert room.pool.is_live(first)


async def test_a_version_that_another_alias_names_stays(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    second = room.publish("a", alias=None)
    await room.rollout.move("a", "stable", first)
    await room.rollout.move("a", "live", second)
    assert await asked(room, "a@stable") == "a:1"
    assert room.pool.is_live(first)
    await room.rollout.move("a", "stable", second)
    await until(lambda: room.pool.view(first).state is EngineState.UNLOADED)


async def test_a_version_that_cannot_load_moves_nothing(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    second = room.publish("a", "refuses", alias=None)
    with pytest.raises(TrineError):
        await room.rollout.move("a", "live", second)
    assert await asked(room) == "a:1"
    assert room.pool.is_live(first)
    assert room.repository.checkpoint("a").aliases == {"live": 1}


async def test_an_alias_that_cannot_be_written_ends_what_was_loaded_for_it(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room()
    await room.loaded("a")
    second = room.publish("a", alias=None)

    def full(*_: object) -> None:
        raise NotPossible("the disk is full")

    monkeypatch.setattr(room.repository, "set_alias", full)
    with pytest.raises(NotPossible):
        await room.rollout.move("a", "live", second)
    assert await asked(room) == "a:1"
    await until(lambda: room.pool.view(second).state is EngineState.UNLOADED)


async def test_an_alias_of_what_is_not_loaded_loads_nothing(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    second, third = room.publish("a", alias=None), room.publish("a", alias=None)
    await room.rollout.move("a", "canary", second)
    await room.rollout.move("a", "canary", third)
    assert not room.pool.is_loaded(second)
    assert not room.pool.is_loaded(third)


async def test_an_old_version_finishes_its_streams_and_no_stream_changes_its_version(
    make_room: MakeRoom,
) -> None:
    room = make_room()
    first = await room.loaded("g", Task.GENERATION)
    steps = room.inference.stream("g", writing("a long text"), caller=Caller("me", 2, 10.0))
    async with contextlib.aclosing(steps):
        version, deltas = await anext(steps)
        second = room.publish("g", task=Task.GENERATION, alias=None)
        await room.rollout.move("g", "live", second)
        assert room.pool.view(first).state is EngineState.UNLOADING
        told = [(version, deltas), *[step async for step in steps]]
    assert {version for version, _ in told} == {"g:1"}
    assert "".join(delta.text for _, deltas in told for delta in deltas) == "a long text"
    await until(lambda: room.pool.view(first).state is EngineState.UNLOADED)


# --- another server has changed the repository ---------------------------------------------------------------------------


class OtherServer:
    """Another server on the same volume; ours reads the name anew, as its watcher does."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.repository = Repository(room.repository.root)

    def follow(self) -> asyncio.Task[None]:
        self.room.repository.refresh("a")
        return asyncio.create_task(self.room.rollout.follow("a"))

    def publish(self, mode: str = "ok") -> Record:
        """A further version, live."""
        return self.room.publish("a", mode, into=self.repository)


async def test_the_version_before_answers_until_the_new_one_is_live(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    other = OtherServer(room)
    second = other.publish("slow")
    following = other.follow()
    await until(lambda: room.pool.view(second).state is EngineState.LOADING)
    assert await asked(room) == "a:1"
    assert room.status.serving["a"]
    with pytest.raises(NotLive):
        await asked(room, "a:2")
    await following
    assert await asked(room) == "a:2"
    await until(lambda: room.pool.view(first).state is EngineState.UNLOADED)


async def test_what_cannot_be_loaded_here_changes_nothing_here(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    other = OtherServer(room)
    second = other.publish("refuses")
    await other.follow()
    assert await asked(room) == "a:1"
    assert room.pool.view(second).reason
    other.publish()
    await other.follow()
    assert await asked(room) == "a:3"


async def test_what_finds_no_room_is_tried_again(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room()
    await room.loaded("a")
    other = OtherServer(room)
    second = other.publish()
    load, tries = room.pool.load, []

    async def crowded(record: Record, *, beside: Record | None = None) -> None:
        tries.append(record)
        if len(tries) == 1:
            raise Overloaded("there is no room for it now")
        await load(record, beside=beside)

    monkeypatch.setattr(rollout, "_PAUSE", 0.05)
    monkeypatch.setattr(room.pool, "load", crowded)
    await other.follow()
    assert await asked(room) == "a:1"
    await until(lambda: room.pool.is_live(second))
    assert len(tries) == 2
    assert await asked(room) == "a:2"


async def test_a_version_deleted_elsewhere_is_unloaded_and_forgotten(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    other = OtherServer(room)
    other.publish()
    other.repository.delete_version(first)
    await other.follow()
    await until(lambda: room.pool.view(first).state is EngineState.UNLOADED)
    assert await asked(room) == "a:2"
    await until(lambda: 'version="1"' not in room.page())


async def test_a_checkpoint_deleted_elsewhere_is_unloaded(make_room: MakeRoom) -> None:
    room = make_room()
    first = await room.loaded("a")
    process = engine_of(room, first)
    other = OtherServer(room)
    other.repository.delete_checkpoint("a")
    await other.follow()
    await until(lambda: is_gone(process))
    with pytest.raises(CheckpointNotFound):
        await asked(room)
    await until(lambda: 'checkpoint="a"' not in room.page())


async def test_a_name_deleted_and_registered_again_elsewhere_is_the_new_one(make_room: MakeRoom) -> None:
    """Both are a:1."""
    room = make_room()
    old = await room.loaded("a")
    process = engine_of(room, old)
    other = OtherServer(room)
    other.repository.delete_checkpoint("a")
    new = other.publish()
    await other.follow()
    assert old.number == new.number
    await until(lambda: is_gone(process))
    assert room.pool.is_live(new)
    assert await classify(room, "x") == ["x"]


async def test_a_server_that_loads_nothing_follows_without_loading(make_room: MakeRoom) -> None:
    room = make_room(load="none")
    room.publish("a")
    other = OtherServer(room)
    second = other.publish()
    await other.follow()
    assert not room.pool.is_loaded(second)


# --- many swaps ----------------------------------------------------------------------------------------------------------


class Mixed(Traffic):
    """Classifications, and streams that end after a few steps."""

    def __init__(self, room: Room, rate: float) -> None:
        super().__init__(rate)
        self.room = room
        self.versions: Counter[str] = Counter()
        self.streams: list[set[str]] = []
        self.texts: list[str] = []
        self._draw = random.Random(5)

    def request(self) -> Coroutine[Any, Any, None]:
        return self._stream() if self._draw.random() < 0.2 else self._read()

    async def _read(self) -> None:
        self.versions[await asked(self.room, "c")] += 1

    async def _stream(self) -> None:
        steps = self.room.inference.stream("a", writing("twelve words"), caller=Caller("me", 2, 10.0))
        told = [(version, "".join(delta.text for delta in deltas)) async for version, deltas in steps]
        self.streams.append({version for version, _ in told})
        self.texts.append("".join(text for _, text in told))


@pytest.mark.parametrize("swaps", [4, pytest.param(100, marks=pytest.mark.proof)])
async def test_swaps_under_load_lose_nothing(make_room: MakeRoom, swaps: int, tmp_path: Path) -> None:
    """100 requests a second over two checkpoints, whose `live` goes to and fro."""
    room = make_room(engine_window=256)
    pairs = []
    for name, task in (("c", Task.CLASSIFICATION), ("a", Task.GENERATION)):
        pairs.append((await room.loaded(name, task), room.publish(name, task=task, alias=None)))
    traffic = Mixed(room, rate=100.0)
    async with traffic.running():
        for swap in range(swaps):
            for first, second in pairs:
                await room.rollout.move(first.checkpoint, "live", first if swap % 2 else second)
        await until(lambda: sum(traffic.versions.values()) > 20 * min(swaps, 10))
    assert set(traffic.versions) == {"c:1", "c:2"}
    assert all(len(versions) == 1 for versions in traffic.streams)
    assert {version for versions in traffic.streams for version in versions} == {"a:1", "a:2"}
    assert set(traffic.texts) == {"twelve words"}
