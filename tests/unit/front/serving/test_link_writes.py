"""What leaves to an engine in one write, and when."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from trine import frames
from trine.front.serving.link import Link, Mailbox


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[int]] = []
        self._unpack = frames.Unpacker(frames.ToEngine)

    def write(self, data: Any) -> None:
        self.sent.append([message.id for message in self._unpack.feed(data)])


def linked() -> tuple[Link, Transport]:
    link, transport = Link(100_000, lambda _: None), Transport()
    link.connection_made(cast(asyncio.Transport, transport))
    return link, transport


def submit(link: Link, count: int) -> None:
    for _ in range(count):
        link.submit(lambda number: frames.Classify(number, ["x"], 1e9, 2, "me", 0), Mailbox())


def answer(link: Link, *numbers: int) -> None:
    link.data_received(frames.pack([frames.Answer(number) for number in numbers]))


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_a_turn_says_leaves_at_its_end() -> None:
    link, transport = linked()
    submit(link, 3)
    assert transport.sent == []
    await turn()
    assert transport.sent == [[1, 2, 3]]


async def test_a_caller_who_waits_for_each_answer_never_waits_for_others() -> None:
    link, transport = linked()
    for number in range(1, 51):
        submit(link, 1)
        await turn()
        assert transport.sent[-1] == [number]
        answer(link, number)
        await asyncio.sleep(0.001)


async def test_what_comes_fast_leaves_together() -> None:
    """Ten thousand of a burst are many, however long this machine takes for it."""
    link, transport = linked()
    submit(link, 10_000)
    await asyncio.sleep(0.011)
    sent = len(transport.sent)
    submit(link, 1)
    await turn()
    submit(link, 2)
    assert len(transport.sent) == sent
    async with asyncio.timeout(5):
        while len(transport.sent) == sent:
            await asyncio.sleep(0.001)
    assert transport.sent[sent:] == [[10_001, 10_002, 10_003]]
    await asyncio.sleep(0.05)
    submit(link, 1)
    await turn()
    await asyncio.sleep(0.011)
    submit(link, 1)
    await turn()
    assert transport.sent[-1] == [10_005], "what comes slowly leaves at once again"


async def test_a_request_that_never_left_is_simply_forgotten() -> None:
    link, transport = linked()
    mailbox = Mailbox()
    number = link.submit(lambda number: frames.Classify(number, ["x"], 1e9, 2, "me", 0), mailbox)
    link.cancel(number, mailbox)
    await turn()
    assert transport.sent == []
