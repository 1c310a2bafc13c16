"""Requests of streams in both directions: they wait where others are refused, and hold what they took until they are ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.serving.test_inference import classify, nothing_is_held
from tests.unit.front.waiting import until
from trine import frames
from trine.errors import DeadlineExceeded, InvalidInput, NotLive, TryLater
from trine.front.serving.reading import Classifying
from trine.front.serving.request import Request
from trine.front.serving.work import Caller

MakeRoom = Callable[..., Room]
Begun = Request[frames.Classified]


async def begin(room: Room, text: str, timeout: float = 5.0) -> tuple[Begun, asyncio.Event]:
    told = asyncio.Event()
    work, caller = Classifying(texts=[text]), Caller("me", 2, timeout)
    return await room.inference.begin("a", work, caller=caller, told=told.set), told


async def test_an_answer_is_counted_before_it_is_told_and_holds_its_permit_until_it_was_read(
    make_room: MakeRoom,
) -> None:
    room = make_room()
    await room.loaded("a")
    request, told = await begin(room, "x")
    await told.wait()
    reference, (result,) = request.result()
    assert (reference, result.labels) == ("a:1", [("x", 1.0)])
    counted = 'trine_requests_total{checkpoint="a",code="OK",task="classification",version="1"} 1.0'
    assert counted in room.page()
    assert room.admission.requests == 1
    request.end()
    assert nothing_is_held(room)
    assert counted in room.page()


async def test_half_of_the_window_is_left_to_calls(make_room: MakeRoom) -> None:
    room = make_room(engine_window=8)
    await room.loaded("a")
    running = [(await begin(room, "wait"))[0] for _ in range(4)]
    waiting = asyncio.create_task(begin(room, "y"))
    assert [await classify(room, "x") for _ in range(20)] == [["x"]] * 20
    assert room.admission.requests == 4
    assert not waiting.done()
    running.pop().end(asyncio.CancelledError())
    request, told = await waiting
    await told.wait()
    assert request.result()[1][0].labels == [("y", 1.0)]
    for one in (request, *running):
        one.end()
    assert nothing_is_held(room)


async def test_half_of_the_permits_are_left_to_calls(make_room: MakeRoom) -> None:
    room = make_room(max_requests=4)
    await room.loaded("a")
    running = [(await begin(room, "wait"))[0] for _ in range(2)]
    waiting = asyncio.create_task(begin(room, "y"))
    told = await asyncio.gather(*(classify(room, text) for text in "xz"))
    assert told == [["x"], ["z"]]
    assert not waiting.done()
    for one in running:
        one.end()
    (await waiting)[0].end()
    assert nothing_is_held(room)


async def test_who_waits_in_vain_is_late(make_room: MakeRoom) -> None:
    room = make_room(max_requests=2)
    await room.loaded("a")
    running, _ = await begin(room, "wait")
    with pytest.raises(DeadlineExceeded):
        await begin(room, "y", timeout=0.05)
    assert 'code="DEADLINE_EXCEEDED"' in room.page()
    running.end()
    assert nothing_is_held(room)


async def test_an_engine_that_dies_keeps_nobody_waiting(make_room: MakeRoom) -> None:
    room = make_room(engine_window=2)
    record = await room.loaded("a")
    running, told = await begin(room, "wait")
    waiting = asyncio.create_task(begin(room, "y", timeout=30))
    await asyncio.sleep(0)
    process = room.pool.process_id(record)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(TryLater):
            await waiting
        await told.wait()
    with pytest.raises(TryLater):
        running.result()
    running.end()
    assert nothing_is_held(room)
    await until(lambda: room.pool.is_live(record))


async def test_an_input_is_late_although_the_engine_does_not_say_so(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("a")
    process = room.pool.process_id(record)
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        request, told = await begin(room, "x", timeout=0.05)
        async with asyncio.timeout(5):
            await told.wait()
        with pytest.raises(DeadlineExceeded):
            request.result()
        request.end()
        assert nothing_is_held(room)
    finally:
        os.kill(process, signal.SIGCONT)


async def test_what_is_refused_holds_nothing(make_room: MakeRoom) -> None:
    room = make_room(max_characters=3)
    room.publish("a")
    with pytest.raises(NotLive):
        await begin(room, "x")
    with pytest.raises(InvalidInput, match="4 characters") as caught:
        await begin(room, "xxxx")
    assert caught.value.field == "inputs[0].text"
    assert nothing_is_held(room)


async def test_who_leaves_while_it_waits_leaves_nothing_behind(make_room: MakeRoom) -> None:
    room = make_room(engine_window=2)
    await room.loaded("a")
    running, _ = await begin(room, "wait")
    first, second = (asyncio.create_task(begin(room, text)) for text in ("y", "z"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert 'code="CANCELLED"' in room.page()
    running.end()
    request, told = await second
    await told.wait()
    assert request.result()[1][0].labels == [("z", 1.0)]
    request.end()
    assert nothing_is_held(room)
