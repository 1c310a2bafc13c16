"""A request's way through the serving room, and that it gives back whatever it took."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.waiting import until
from trine import frames
from trine.artifact import Task
from trine.errors import (
    CheckpointNotFound,
    DeadlineExceeded,
    Draining,
    EngineLost,
    InvalidInput,
    NotLive,
    Overloaded,
    TrineError,
    WrongTask,
)
from trine.front.serving.reading import Classifying, Embedding, Tagging
from trine.front.serving.views import EngineState
from trine.front.serving.work import Caller
from trine.front.serving.writing import Writing
from trine.registry.records import Record
from trine.sampling import Decoding

MakeRoom = Callable[..., Room]


async def classify(room: Room, *texts: str, name: str = "a", timeout: float | None = 5.0) -> list[str]:
    reading = Classifying(texts=list(texts))
    _, results = await room.inference.answer(name, reading, caller=Caller("me", 2, timeout))
    return [result.labels[0][0] for result in results]


def writing(*texts: str) -> Writing:
    return Writing(task=Task.GENERATION, texts=list(texts), decoding=Decoding(), stream=True)


async def stream(room: Room, text: str, name: str = "g", timeout: float = 5.0) -> list[frames.Delta]:
    got: list[frames.Delta] = []
    steps = room.inference.stream(name, writing(text), caller=Caller("me", 2, timeout))
    async with contextlib.aclosing(steps):
        async for _, deltas in steps:
            got += deltas
    return got


def is_back(room: Room, record: Record, restarts: int) -> bool:
    return room.pool.view(record).restarts == restarts and room.pool.is_live(record)


def nothing_is_held(room: Room) -> bool:
    return room.admission.requests == 0 and room.admission.bytes == 0


async def test_answers_keep_the_order_of_the_inputs(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    assert await classify(room, "x", "y", "z") == ["x", "y", "z"]
    assert nothing_is_held(room)
    assert (
        'trine_requests_total{checkpoint="a",code="OK",task="classification",version="1"} 1.0' in room.page()
    )


async def test_every_task_of_the_encoder_family(make_room: MakeRoom) -> None:
    """Each with its own frame, its own results and its own name in the metrics."""
    room = make_room()
    await room.loaded("t", Task.TOKEN_CLASSIFICATION)
    await room.loaded("e", Task.EMBEDDING)
    caller, texts = Caller("me", 2, 5.0), ["x", "yz"]
    tagging = Tagging(texts=texts, aggregation="max", windows=frames.Windows(3))
    reference, tagged = await room.inference.answer("t", tagging, caller=caller)
    assert reference == "t:1"
    assert [one.entities[0] for one in tagged] == [
        frames.Entity("max/3", 0.5, "x", 0, 1),
        frames.Entity("max/3", 0.5, "yz", 0, 2),
    ]
    embedding = Embedding(texts=texts, normalize=True, dimensions=7)
    _, embedded = await room.inference.answer("e", embedding, caller=caller)
    assert [one.values for one in embedded] == [b"True/7/None x", b"True/7/None yz"]
    assert nothing_is_held(room)
    for task in (Task.TOKEN_CLASSIFICATION, Task.EMBEDDING):
        assert f'code="OK",task="{task}",version="1"}} 1.0' in room.page()


async def test_another_tasks_checkpoint_names_the_call_that_it_answers(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("t", Task.TOKEN_CLASSIFICATION)
    await room.loaded("e", Task.EMBEDDING)
    for name, verb in (("t", "ClassifyTokens"), ("e", "Embed")):
        with pytest.raises(WrongTask, match=f"call {verb}$"):
            await classify(room, "x", name=name)


async def test_both_texts_of_a_pair_are_counted(make_room: MakeRoom) -> None:
    room = make_room(max_characters=10)
    await room.loaded("a")
    caller = Caller("me", 2, 5.0)
    pairs: list[str | None] = [None, "123456"]
    await room.inference.answer("a", Classifying(texts=["12345", "1234"], pairs=pairs), caller=caller)
    with pytest.raises(InvalidInput, match="11 characters") as caught:
        await room.inference.answer("a", Classifying(texts=["12345", "12345"], pairs=pairs), caller=caller)
    assert caught.value.field == "inputs[1].text"


async def test_a_stream_ends_with_its_last_delta(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("g", Task.GENERATION)
    deltas = await stream(room, "hello")
    assert "".join(delta.text for delta in deltas) == "hello"
    assert [delta.last for delta in deltas] == [False] * (len(deltas) - 1) + [True]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("b", CheckpointNotFound),
        ("a:9", CheckpointNotFound),
        ("a@x", CheckpointNotFound),
        ("A", InvalidInput),
        ("g", WrongTask),
    ],
)
async def test_wrong_references(make_room: MakeRoom, name: str, error: type[TrineError]) -> None:
    room = make_room()
    await room.loaded("a")
    room.publish("g", task=Task.GENERATION)
    with pytest.raises(error) as caught:
        await classify(room, "x", name=name)
    assert caught.value.field == "checkpoint"
    assert nothing_is_held(room)


async def test_an_unloaded_version_says_so(make_room: MakeRoom) -> None:
    room = make_room()
    room.publish("a")
    with pytest.raises(NotLive) as caught:
        await classify(room, "x")
    assert caught.value.retry_after


async def test_the_engine_names_the_field(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    with pytest.raises(InvalidInput) as caught:
        await classify(room, "bad")
    assert caught.value.field == "inputs[0].text"


async def test_too_much_is_refused_at_once(make_room: MakeRoom) -> None:
    room = make_room(max_requests=2, max_characters=10, max_inputs=3, max_inflight_bytes=1024)
    await room.loaded("a")
    with pytest.raises(InvalidInput, match="11 characters"):
        await classify(room, "ok", "x" * 11)
    with pytest.raises(InvalidInput, match="4 inputs"):
        await classify(room, *"abcd")
    waiting = [asyncio.create_task(classify(room, "wait")) for _ in range(2)]
    await until(lambda: room.admission.requests == 2)
    with pytest.raises(Overloaded) as caught:
        await classify(room, "x")
    assert caught.value.retry_after
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await classify(room, "x") == ["x"]
    assert nothing_is_held(room)


async def test_a_place_in_the_window_is_freed_by_the_engine_only(make_room: MakeRoom) -> None:
    """A stopped engine cannot say that it let go, so the callers who left still fill its window: no hidden queue."""
    room = make_room(engine_window=3)
    record = await room.loaded("a")
    process = room.pool.process_id(record)
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        tasks = [asyncio.create_task(classify(room, "wait")) for _ in range(3)]
        await until(lambda: room.admission.requests == 3)
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert nothing_is_held(room)
        with pytest.raises(Overloaded):
            await classify(room, "x")
    finally:
        os.kill(process, signal.SIGCONT)

    async def answered() -> bool:
        with contextlib.suppress(Overloaded):
            return await classify(room, "x") == ["x"]
        return False

    async with asyncio.timeout(10):
        while not await answered():
            await asyncio.sleep(0.01)


async def test_a_deadline_ends_what_the_engine_does_not(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    with pytest.raises(DeadlineExceeded):
        await classify(room, "wait", timeout=0.05)
    assert nothing_is_held(room)
    assert 'code="DEADLINE_EXCEEDED"' in room.page()


async def test_cancelling_a_stream_gives_everything_back(make_room: MakeRoom) -> None:
    room = make_room(engine_window=9)
    await room.loaded("g", Task.GENERATION)
    tasks = [asyncio.create_task(stream(room, "endless")) for _ in range(8)]
    await until(lambda: room.admission.requests == 8)
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert nothing_is_held(room)
    assert 'code="CANCELLED"' in room.page()
    assert "".join(delta.text for delta in await stream(room, "again")) == "again"


async def test_a_killed_engine_fails_its_streams_and_comes_back(make_room: MakeRoom) -> None:
    room = make_room(engine_window=16)
    record = await room.loaded("g", Task.GENERATION)
    await room.loaded("a")
    tasks = [asyncio.create_task(stream(room, "endless", timeout=30)) for _ in range(16)]
    await until(lambda: room.admission.requests == 16)
    process = room.pool.process_id(record)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    killed = time.monotonic()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - killed < 5
    assert all(isinstance(result, EngineLost) for result in results)
    assert nothing_is_held(room)
    assert await classify(room, "x") == ["x"], "another checkpoint never notices"
    await until(lambda: room.pool.is_live(record))
    assert "".join(delta.text for delta in await stream(room, "back")) == "back"
    assert room.pool.view(record).restarts == 1


async def test_an_engine_that_makes_no_progress_is_killed(make_room: MakeRoom) -> None:
    room = make_room(engine_stall_timeout=0.4)
    record = await room.loaded("a")
    with pytest.raises(EngineLost):
        await classify(room, "freeze", timeout=30)
    await until(lambda: room.pool.is_live(record))
    assert await classify(room, "x") == ["x"]


@pytest.mark.parametrize("mode", ["refuses", "crashes", "sleeps"])
async def test_an_engine_that_cannot_load(make_room: MakeRoom, mode: str) -> None:
    room = make_room(engine_load_timeout=0.5)
    record = room.publish("a", mode)
    with pytest.raises(TrineError):
        await room.pool.load(record)
    view = room.pool.view(record)
    assert view.state is EngineState.UNLOADED
    assert view.reason
    with pytest.raises(NotLive):
        await classify(room, "x")


async def test_it_keeps_dying_and_comes_back_each_time(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("a")
    for deaths in range(1, 4):
        with pytest.raises(EngineLost):
            await classify(room, "die")
        await until(partial(is_back, room, record, deaths))
    assert 'trine_engine_restarts_total{checkpoint="a",version="1"} 3.0' in room.page()


async def test_unloading_lets_what_runs_finish_and_refuses_what_comes(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("g", Task.GENERATION)
    running = asyncio.create_task(stream(room, "x" * 100))
    await until(lambda: room.admission.requests == 1)
    unloading = asyncio.create_task(room.pool.unload(record))
    await until(lambda: room.pool.view(record).state is EngineState.UNLOADING)
    with pytest.raises(NotLive):
        await stream(room, "y")
    assert len(await running) >= 1
    await unloading
    assert room.pool.view(record).state is EngineState.UNLOADED


async def test_draining_refuses(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("a")
    room.admission.draining = True
    with pytest.raises(Draining):
        await classify(room, "x")


async def test_status_follows_the_engines(make_room: MakeRoom) -> None:
    room = make_room()
    told: list[tuple[str, bool | None]] = []
    record = room.publish("a")
    room.status.subscribe(lambda name, serving: told.append((name, serving)))
    assert told == [("", False)]
    await room.pool.load(record)
    room.status.set_ready(True)
    await room.pool.unload(record)
    room.repository.delete_checkpoint("a")
    room.pool.forget(record)
    assert told[1:] == [("a", False), ("a", True), ("", True), ("a", False), ("a", None)]


async def test_what_gathers_for_a_slow_reader_leaves_as_one_delta(make_room: MakeRoom) -> None:
    room = make_room()
    await room.loaded("g", Task.GENERATION)
    steps = room.inference.stream("g", writing("x" * 20), caller=Caller("me", 2, 5.0))
    async with contextlib.aclosing(steps):
        await anext(steps)
        await asyncio.sleep(0.2)
        rest = [deltas async for _, deltas in steps]
    assert len(rest) <= 3, "20 letters, 2 ms each"
    assert all(len(deltas) == 1 for deltas in rest)
    last = rest[-1][0]
    assert (last.finish, last.usage, last.last) == ("stop", frames.Usage(1, 1), True)


@pytest.mark.parametrize(("timeout", "code"), [(0.05, "DEADLINE_EXCEEDED"), (5.0, "CANCELLED")])
async def test_the_clock_tells_why_a_call_was_cancelled(
    make_room: MakeRoom, timeout: float, code: str
) -> None:
    """gRPC cancels the handler of a call that is late, as it does when the caller leaves."""
    room = make_room()
    await room.loaded("a")
    task = asyncio.create_task(classify(room, "wait", timeout=timeout))
    await until(lambda: room.admission.requests == 1)
    await asyncio.sleep(0.06)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert f'trine_requests_total{{checkpoint="a",code="{code}"' in room.page()
