"""Each test runs twice: with the blocking client and with the asynchronous one, against the same fake server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from trine.client import AsyncClient, AsyncStream, Client
from unit.client.fake_server import FakeServer

Either = Any
"""A Client or an AsyncClient: `answer` and `parts` level the difference."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest_asyncio.fixture(params=["blocking", "async"])
async def client(request: pytest.FixtureRequest, server: FakeServer) -> AsyncIterator[Either]:
    if request.param == "blocking":
        with Client(server.target, server.target) as blocking:
            yield blocking
    else:
        async with AsyncClient(server.target, server.target) as asynchronous:
            yield asynchronous


async def answer(value: Any) -> Any:
    """What a method of either client returns."""
    return await value if inspect.isawaitable(value) else value


async def parts(stream: Any) -> list[Any]:
    """All parts of a stream of either client."""
    if isinstance(stream, AsyncStream):
        return [part async for part in stream]
    return list(stream)
