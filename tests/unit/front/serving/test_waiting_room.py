"""Requests that can wait: who goes first, and that no turn is lost."""

from __future__ import annotations

import asyncio

from trine.front.serving.room import Room


class Places:
    """Free ones, counted down by those who wait for them."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.room = Room(lambda: self.free > 0)
        self.served: list[int] = []

    async def serve(self, number: int) -> None:
        await self.room.wait()
        self.free -= 1
        self.served.append(number)

    async def give_back(self) -> None:
        self.free += 1
        self.room.freed()
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    places = Places(2)
    waiting = [asyncio.create_task(places.serve(number)) for number in range(5)]
    await settled()
    assert places.served == [0, 1]
    assert not places.room.is_there
    for served in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        await places.give_back()
        assert places.served == served
        assert places.free == 0
    await asyncio.gather(*waiting)
    await places.give_back()
    assert places.room.is_there


async def test_who_leaves_passes_its_turn_on() -> None:
    places = Places(0)
    first, second, third = [asyncio.create_task(places.serve(number)) for number in range(3)]
    await settled()
    second.cancel()
    await settled()
    places.free += 1
    places.room.freed()
    first.cancel()  # its turn has come, and it does not know yet
    await settled()
    assert places.served == [2]
    await asyncio.gather(first, second, third, return_exceptions=True)


async def test_a_room_that_closes_lets_all_go() -> None:
    places = Places(0)
    waiting = [asyncio.create_task(places.serve(number)) for number in range(3)]
    await settled()
    places.room.close()
    await asyncio.gather(*waiting)
    assert places.served == [0, 1, 2]


async def test_a_turn_that_is_being_cancelled_breaks_nobody() -> None:
    """Between `cancel` and the task's own turn of the loop, its place in the line is cancelled and still there."""
    places = Places(0)
    first, second = [asyncio.create_task(places.serve(number)) for number in range(2)]
    await settled()
    first.cancel()
    await places.give_back()
    assert places.served == [1]
    await asyncio.gather(first, second, return_exceptions=True)


async def test_closing_while_a_turn_is_being_cancelled_wakes_the_others() -> None:
    places = Places(0)
    first, second = [asyncio.create_task(places.serve(number)) for number in range(2)]
    await settled()
    first.cancel()
    places.room.close()
    await settled()
    assert places.served == [1]
    await asyncio.gather(first, second, return_exceptions=True)
