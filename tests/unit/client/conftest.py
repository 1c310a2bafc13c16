"""Each test runs twice: with the blocking client and with the asynchronous one, against the same fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.unit.client.either import Either
from tests.unit.client.fake_server import FakeServer
from trine.client import AsyncClient, Client


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
