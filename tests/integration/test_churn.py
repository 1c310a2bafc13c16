"""64 callers of the real server at once, of a decoder and an encoder-decoder; one call in ten is left, one in ten gets too little time.

All others are answered what they are answered alone, and afterwards as many calls as there are permits fit at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.server import Server
from trine.client import AsyncClient
from trine.errors import DeadlineExceeded, Overloaded

CALLERS = 64
KINDS = 30
"""Different requests."""
HEAD = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n" * 3
NAMES = ["ROMEO:", "JULIET:\nO", "Second Citizen:\nWe", "MENENIUS:"]
SENTENCES = [
    "I am looking for a good restaurant.",
    "Where is the station?",
    "Thanks! See you tomorrow.",
    "No.",
]
GAUGES = ("trine_requests_waiting", "trine_requests_running", "trine_kv_cache_usage_ratio")

Told = list[tuple[str, str]]
"""Text and finish reason of each input."""


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With as many permits as there are callers, and little room for calls that the engine has not let go of."""
    folder = tmp_path_factory.mktemp("storm")
    with Server(folder, repository, max_requests=CALLERS, engine_window=CALLERS + 32) as running:
        running.wait_ready()
        yield running


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, server.admin_target, timeout=120) as client:
        yield client


class Request:
    """The same for the same number."""

    def __init__(self, number: int) -> None:
        draw = random.Random(number)
        self.generates = draw.random() < 0.5
        heads = [HEAD, HEAD[: draw.randrange(len(HEAD))], ""]
        sources = [draw.choice(heads) + name for name in NAMES] if self.generates else SENTENCES
        self.checkpoint = "verse" if self.generates else "en-fr"
        self.texts = draw.sample(sources, draw.randint(1, 3))
        self.options: dict[str, Any] = {"max_new_tokens": draw.randint(2, 24)}
        if draw.random() < 0.3:
            self.options["beams"] = draw.randint(2, 4)
        elif draw.random() < 0.6:
            self.options |= {"temperature": 0.9, "top_p": 0.95, "seed": number}

    async def whole(self, client: AsyncClient, timeout: float | None = None) -> Told:
        call: Any = client.generate if self.generates else client.translate
        results = await call(self.checkpoint, self.texts, timeout=timeout, **self.options)
        return [(result.text, result.finish_reason) for result in results]

    async def streamed(self, client: AsyncClient, leave_after: int = 0) -> Told | None:
        """None for one that left after so many deltas."""
        call: Any = client.stream_generate if self.generates else client.stream_translate
        texts, finishes, deltas = [""] * len(self.texts), [""] * len(self.texts), 0
        async with call(self.checkpoint, self.texts, **self.options) as stream:
            async for delta in stream:
                texts[delta.input_index] += delta.text
                finishes[delta.input_index] = delta.finish_reason or finishes[delta.input_index]
                deltas += 1
                if deltas == leave_after:
                    return None
        return list(zip(texts, finishes, strict=True))


async def caller(client: AsyncClient, seed: int, calls: int, expected: list[Told]) -> Counter[str]:
    """What became of its calls: those that were answered had to be answered right."""
    draw, outcomes = random.Random(seed), Counter[str]()
    for _ in range(calls):
        number = draw.randrange(KINDS)
        request, fate = Request(number), draw.randrange(10)
        told: Told | None
        try:
            if fate == 0:
                told = await request.streamed(client, leave_after=draw.randint(1, 6))
            elif fate == 1:
                told = await request.whole(client, timeout=draw.uniform(0.002, 0.2))
            else:
                told = await (request.whole(client) if draw.random() < 0.5 else request.streamed(client))
        except DeadlineExceeded:
            assert fate == 1
            outcomes["late"] += 1
            continue
        except Overloaded:  # the server has not noticed yet that somebody left
            outcomes["refused"] += 1
            await asyncio.sleep(0.02)
            continue
        outcomes["left" if told is None else "answered"] += 1
        assert told is None or told == expected[number]
    return outcomes


async def idle(server: Server) -> None:
    """Raises when something still runs after a while."""
    deadline = time.monotonic() + 20
    while any(server.metric(name, checkpoint=of) for name in GAUGES for of in ("verse", "en-fr")):
        assert time.monotonic() < deadline, "an engine still has something to do"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("calls", [2, pytest.param(100, marks=pytest.mark.proof)])
async def test_those_who_stay_are_answered_as_alone(server: Server, client: AsyncClient, calls: int) -> None:
    expected = [await Request(number).whole(client) for number in range(KINDS)]
    outcomes = sum(
        await asyncio.gather(*(caller(client, seed, calls, expected) for seed in range(CALLERS))),
        Counter[str](),
    )
    assert outcomes["left"] > 0.03 * CALLERS * calls
    assert outcomes["late"] > 0
    assert outcomes["answered"] > 0.7 * CALLERS * calls
    await idle(server)
    full = await asyncio.gather(*(Request(number % KINDS).whole(client) for number in range(CALLERS)))
    assert full == [expected[number % KINDS] for number in range(CALLERS)]
