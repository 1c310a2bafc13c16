"""`live` goes to and fro between two versions of two checkpoints under 100 requests a second: nothing fails, no stream is mixed."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.server import Server
from tests.integration.versions import add_version, with_other_labels, without_tokens
from tests.unit.front.serving.traffic import Traffic
from trine.client import AsyncClient

REVIEW = "This film is a delight from start to finish."
RATE = 100.0
"""Requests a second; one in ten is a stream."""
OPEN = 128
"""Open at most: beyond 256 on one connection gRPC itself refuses, as it might on a machine that is slow for a moment."""


@pytest.fixture
def server(repository_copy: Path, tmp_path: Path) -> Iterator[Server]:
    add_version(repository_copy, "sentiment", with_other_labels)
    add_version(repository_copy, "verse", without_tokens(*range(200, 400)))
    # On a machine that is slow for a moment requests gather; here they are to be answered, not refused.
    with Server(
        tmp_path / "server", repository_copy, max_requests=4096, engine_window=4096, engine_threads=1
    ) as running:
        running.wait_ready()
        yield running


class Mixed(Traffic):
    """Classifications, and streams."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(RATE)
        self.client = client
        self.labels: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self._count = 0
        self._open = asyncio.Semaphore(OPEN)

    def request(self) -> Coroutine[Any, Any, None]:
        self._count += 1
        return self._stream() if self._count % 10 == 0 else self._classify()

    async def _classify(self) -> None:
        async with self._open:
            result = await self.client.classify("sentiment", REVIEW)
        self.labels[f"{result.checkpoint} {result.labels[0].name}"] += 1

    async def _stream(self) -> None:
        text = ""
        async with self._open, self.client.stream_generate("verse", "ROMEO:", max_new_tokens=24) as stream:
            async for delta in stream:
                text += delta.text
        self.texts[text] += 1


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("swaps", [2, pytest.param(100, marks=pytest.mark.proof)])
async def test_swaps_under_load(server: Server, swaps: int) -> None:
    async with AsyncClient(server.target, server.admin_target, timeout=120) as client:
        texts = {}
        for number in (1, 2):
            await client.load(f"verse:{number}")
            written = await client.generate(f"verse:{number}", "ROMEO:", max_new_tokens=24)
            texts[number] = written.text
        assert texts[1] != texts[2], "the second version is to be another one"
        await client.unload("verse:2")
        traffic = Mixed(client)
        async with traffic.running():
            for swap in range(swaps):
                number = 1 + (swap // 2 + 1) % 2
                name = ("verse", "sentiment")[swap % 2]
                answer = await client.set_alias(f"{name}:{number}", "live")
                assert answer.aliases["live"] == number
                await asyncio.sleep(0.2)
        handled = sum(traffic.labels.values()) + sum(traffic.texts.values())
        assert handled > 20 * swaps
        assert set(traffic.labels) == {"sentiment:1 positive", "sentiment:2 second positive"}
        assert set(traffic.texts) == set(texts.values())
    for code in ("UNAVAILABLE", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "INTERNAL", "DEADLINE_EXCEEDED"):
        # Of the server: what the client tried again, as it does with UNAVAILABLE, failed too.
        assert server.metric("grpc_server_handled_total", grpc_code=code) == 0, code
    sys.stdout.write(f"{swaps} swaps, {handled} requests, {traffic.labels}, {[*traffic.texts.values()]}\n")
