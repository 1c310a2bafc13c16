"""Dynamic batching for the encoder family: when the engine is free it runs what waits, up to a token budget.

It waits for nothing: while a batch runs the queue grows and the next batch is larger (docs/decisions/0005).
Engine process, its only thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.policy import Room
from trine.engine.scheduling.queue import FairQueue
from trine.engine.scheduling.runner import Encoder


class DynamicBatcher:
    """Whole inputs, one pass each."""

    running = 0
    """Nothing is left running between two steps."""
    cache_used = 0.0

    def __init__(self, encoder: Encoder, budget: int) -> None:
        self._encoder = encoder
        self._budget = budget
        self._queue: FairQueue[Item] = FairQueue()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, items: Sequence[Item]) -> None:
        self._queue.add(items)

    def discard(self, call: Call) -> int:
        """Forget what waits of a call. Returns the tokens that were computed in vain: none."""
        self._queue.discard(call)
        return 0

    def choose(self) -> list[Item]:
        batch: list[Item] = []
        room = Room(self._budget)
        while (item := self._queue.first()) is not None and room.take(len(item.tokens)):
            item.chunk = len(item.tokens)
            batch.append(self._queue.take(item))
        return batch

    def run(self, batch: Sequence[Item]) -> list[Any]:
        return list(self._encoder.run([item.tokens for item in batch], [item.types for item in batch]))

    def settle(self, batch: Sequence[Item], outputs: Sequence[Any]) -> list[Item]:
        """Hand each item its output. Returns the items that have news: all."""
        for item, output in zip(batch, outputs, strict=True):
            item.output = output
        return list(batch)
