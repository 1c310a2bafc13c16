"""A client of many streams at once, and the moment at which each delta reaches it. The bench's process, one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bench.served import Served
from bench.trace import Request
from trine.client import AsyncClient

_TIMEOUT = 600.0


@dataclass(slots=True)
class Heard:
    """One stream: moments in seconds of the process's clock (time.perf_counter)."""

    asked: float
    deltas: list[float] = field(default_factory=list)
    """With text each; the first stands for the first token."""

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.deltas[0] - self.asked


class Listener:
    """Asks one server for streams. Made inside a running event loop."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._client = AsyncClient(served.target, timeout=_TIMEOUT)

    async def close(self) -> None:
        await self._client.close()

    async def hear(
        self, prompt: Sequence[int], new_tokens: int, told: Callable[[Heard], None] | None = None
    ) -> Heard:
        """Read a whole stream; `told` is called after each delta. Raises RuntimeError for another number of tokens."""
        heard = Heard(time.perf_counter())
        usage = None
        text = self._served.vocabulary.text(prompt)
        async for delta in self._client.stream_generate(
            self._served.checkpoint, text, max_new_tokens=new_tokens
        ):
            usage = delta.usage
            if delta.text:
                heard.deltas.append(time.perf_counter())
                if told:
                    told(heard)
        if usage is None or usage.output_tokens != new_tokens or not heard.deltas:
            raise RuntimeError(f"{self._served.name} did not stream {new_tokens} tokens")
        return heard

    async def play(self, requests: Sequence[Request]) -> list[Heard]:
        """Each request at its moment, whatever is still running; their streams in the order of the requests."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._at(began + one.at, one)) for one in requests]
        return [task.result() for task in tasks]

    async def _at(self, moment: float, request: Request) -> Heard:
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        heard = await self.hear(request.prompt, request.new_tokens)
        heard.asked = moment
        return heard


def listen(served: Served, action: Callable[[Listener], Awaitable[list[Heard]]]) -> list[Heard]:
    """Run `action` with a listener of its own, in an event loop of its own."""

    async def run() -> list[Heard]:
        listener = Listener(served)
        try:
            return await action(listener)
        finally:
            await listener.close()

    return asyncio.run(run())
