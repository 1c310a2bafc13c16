"""Watching checkpoints: what is there, then what changes, the newest state only, until the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.unit.front.serving.replicas import Server
from tests.unit.front.serving.room import Room
from tests.unit.front.waiting import until
from trine.errors import Draining, InvalidInput
from trine.front.serving.views import Change, EngineState
from trine.registry.repository import Repository

MakeRoom = Callable[..., Room]


@pytest.fixture
async def server(make_room: MakeRoom, tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "watched", load="none")
    made.replica.start()
    yield made
    await made.end()


async def told(changes: AsyncGenerator[Change, None]) -> Change:
    async with asyncio.timeout(10):
        return await anext(changes)


async def until_told(changes: AsyncGenerator[Change, None], wanted: Callable[[Change], bool]) -> Change:
    while not wanted(change := await told(changes)):
        pass
    return change


def is_at(state: EngineState) -> Callable[[Change], bool]:
    def check(change: Change) -> bool:
        return change.checkpoint is not None and change.checkpoint.versions[0].engine.state is state

    return check


async def test_what_is_there_comes_first_in_order(server: Server) -> None:
    for name in ("b", "a"):
        server.publish(name)
    async with aclosing(server.administration.watch("")) as changes:
        first, second, third = [await told(changes) for _ in range(3)]
    assert first.checkpoint is not None
    assert second.checkpoint is not None
    assert (first.checkpoint.name, second.checkpoint.name, third.current) == ("a", "b", True)
    assert first.checkpoint.aliases == {"live": 1}


async def test_every_kind_of_change_is_told(server: Server, tmp_path: Path) -> None:
    async with aclosing(server.administration.watch("")) as changes:
        assert (await told(changes)).current
        record = server.publish("a", into=Repository(tmp_path / "watched"))
        await until_told(changes, lambda one: bool(one.checkpoint and one.checkpoint.aliases))
        await server.pool.load(record)
        await until_told(changes, is_at(EngineState.LIVE))
        await server.pool.unload(record)
        await until_told(changes, is_at(EngineState.UNLOADED))
        await server.administration.set_alias("a:1", "canary")
        await until_told(changes, lambda one: bool(one.checkpoint and "canary" in one.checkpoint.aliases))
        await server.administration.delete_alias("a@canary")
        await until_told(changes, lambda one: bool(one.checkpoint and len(one.checkpoint.aliases) == 1))
        await server.administration.delete("a")
        assert await until_told(changes, lambda one: bool(one.deleted)) == Change(deleted="a")


async def test_one_name_alone(server: Server) -> None:
    server.publish("a")
    async with aclosing(server.administration.watch("b")) as changes:
        assert (await told(changes)).current, "a name that is not there yet can be waited for"
        server.publish("c")
        server.publish("b")
        change = await told(changes)
        assert change.checkpoint is not None
        assert change.checkpoint.name == "b"
    with pytest.raises(InvalidInput):
        await anext(server.administration.watch("a:1"))


async def test_who_falls_behind_is_told_the_newest_state_once(server: Server) -> None:
    server.publish("a")
    async with aclosing(server.administration.watch("")) as changes:
        await told(changes)
        await told(changes)
        for _ in range(20):
            server.publish("a")
        await until(lambda: 21 in server.replica._known.get("a", {}))
        change = await told(changes)
        assert change.checkpoint is not None
        assert [version.number for version in change.checkpoint.versions] == list(range(1, 22))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(changes)


async def test_a_drain_ends_all_watches(server: Server) -> None:
    changes = server.administration.watch("")
    assert (await told(changes)).current
    waiting = asyncio.create_task(told(changes))
    await asyncio.sleep(0)
    server.watchers.drain()
    with pytest.raises(Draining):
        await waiting


async def test_nothing_is_kept_of_a_watcher_that_left(server: Server) -> None:
    changes = server.administration.watch("")
    await told(changes)
    assert len(server.watchers._watchers) == 1
    await changes.aclose()
    assert server.watchers._watchers == set()
