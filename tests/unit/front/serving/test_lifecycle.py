"""Loading and unloading when callers leave, engines die and the system refuses: nothing stays half-way, no process is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.unit.front.serving.room import Room, engine_of, is_gone
from tests.unit.front.serving.test_inference import classify, stream
from tests.unit.front.waiting import until
from trine.artifact import Task
from trine.errors import EngineLost, NotLive, TrineError
from trine.front.serving.administration import Administration
from trine.front.serving.publisher import Publisher
from trine.front.serving.views import EngineState
from trine.front.serving.watchers import Watchers

MakeRoom = Callable[..., Room]


async def test_an_unload_goes_on_when_its_caller_leaves(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("g", Task.GENERATION)
    running = asyncio.create_task(stream(room, "endless", timeout=30))
    await until(lambda: room.admission.requests == 1)
    unloading = asyncio.create_task(room.pool.unload(record))
    await until(lambda: room.pool.view(record).state is EngineState.UNLOADING)
    unloading.cancel()
    await asyncio.gather(unloading, return_exceptions=True)
    loading = asyncio.create_task(room.pool.load(record))
    running.cancel()
    await loading
    assert room.pool.is_live(record)
    assert "".join(delta.text for delta in await stream(room, "again")) == "again"


async def test_an_engine_that_dies_while_it_is_unloaded_stays_dead(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("g", Task.GENERATION)
    engine = room.pool.lease(record)
    unloading = asyncio.create_task(room.pool.unload(record))
    await until(lambda: room.pool.view(record).state is EngineState.UNLOADING)
    os.kill(engine_of(room, record), signal.SIGKILL)
    await asyncio.sleep(0.5)  # a restart begins after 0.05 s
    assert room.pool.view(record).state is EngineState.UNLOADING
    assert room.pool.view(record).restarts == 0
    engine.let_go()
    await unloading
    assert room.pool.view(record).state is EngineState.UNLOADED


async def test_a_load_whose_caller_leaves_twice_leaves_no_process(make_room: MakeRoom) -> None:
    """The second time while the engine, which reads nothing, is given its second to end."""
    room = make_room()
    record = room.publish("a", "sleeps")
    loading = asyncio.create_task(room.pool.load(record))
    await until(lambda: room.pool.process_id(record) is not None)
    process = engine_of(room, record)
    loading.cancel()
    await until(lambda: room.pool.process_id(record) is None)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    await until(lambda: is_gone(process), seconds=5)
    assert room.pool.view(record).state is EngineState.UNLOADED


async def test_closing_beside_an_unload(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("a")
    process = engine_of(room, record)
    unloading = asyncio.create_task(room.pool.unload(record))
    await asyncio.sleep(0)
    await asyncio.gather(unloading, room.pool.close(0.0))
    assert is_gone(process)
    assert room.pool.view(record).state is EngineState.UNLOADED


class _NoProcess:
    """Popen on a machine that has no process or descriptor to give, for so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.real = subprocess.Popen

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise BlockingIOError("no more processes")
        return self.real(*arguments, **options)


async def test_a_system_without_processes_is_an_error_of_ours(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room()
    record = room.publish("a")
    monkeypatch.setattr(subprocess, "Popen", _NoProcess(1))
    with pytest.raises(EngineLost):
        await room.pool.load(record)
    await room.pool.load(record)
    assert await classify(room, "x") == ["x"]


async def test_a_restart_outlives_a_system_without_processes(
    make_room: MakeRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room()
    record = await room.loaded("a")
    monkeypatch.setattr(subprocess, "Popen", _NoProcess(2))
    os.kill(engine_of(room, record), signal.SIGKILL)
    await until(lambda: room.pool.view(record).restarts == 3 and room.pool.is_live(record))
    assert await classify(room, "x") == ["x"]


async def test_nothing_is_remembered_of_what_was_deleted(make_room: MakeRoom) -> None:
    room = make_room(engine_load_timeout=5)
    administration = Administration(
        room.repository, room.pool, cast(Publisher, None), room.rollout, Watchers(room.repository, room.pool)
    )
    record = room.publish("a", "refuses")
    with pytest.raises(TrineError):
        await room.pool.load(record)
    with pytest.raises(TrineError):
        await classify(room, "x")
    assert 'checkpoint="a"' in room.page()
    await administration.delete("a")
    assert 'checkpoint="a"' not in room.page()
    assert room.pool.view(record).reason == ""


async def test_loading_what_restarts_does_not_say_that_it_is_live(make_room: MakeRoom) -> None:
    room = make_room(engine_restart_pause=20.0)
    record = await room.loaded("a")
    os.kill(engine_of(room, record), signal.SIGKILL)
    await until(lambda: room.pool.view(record).state is EngineState.RESTARTING)
    with pytest.raises(NotLive) as caught:
        await room.pool.load(record)
    assert caught.value.retry_after
