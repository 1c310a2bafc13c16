"""An engine of the encoder family whose time passes only while its batches run, for tests of who waits how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.unit.engine.scheduling.stand_ins import Clock
from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.pace import Pace, Point

FIXED, EACH = 0.008, 0.00025
"""Seconds of a batch, and of each of its tokens."""
BUDGET = 88
"""Tokens of a batch of LONGEST seconds."""
LONGEST = 0.030


def lasting(tokens: int) -> float:
    return FIXED + EACH * tokens


CURVE: list[Point] = [(8 << n, lasting(8 << n)) for n in range(6)]


class Known(Pace):
    """The pace of an engine that is always as quick as its curve says, and of which nothing is to be learnt."""

    def __init__(self) -> None:
        super().__init__(2048, LONGEST, CURVE)

    def saw(self, tokens: int, seconds: float) -> None:
        pass

    def doubt(self) -> None:
        pass


class BusyEngine:
    """Runs batch after batch. What arrives while one runs is seen when it ends, as in the loop."""

    def __init__(self, pace: Pace | None = None, slower: float = 1.0) -> None:
        """`slower`: how many times longer a batch lasts than the curve says."""
        self.clock = Clock()
        self.batcher = DynamicBatcher(self, pace or Known(), self.clock)
        self.slower = slower
        self.arrivals: list[tuple[float, list[Item]]] = []
        """Seconds from now, and what comes then. By time."""
        self.batches: list[list[Item]] = []
        self.ends: dict[Item, float] = {}
        """When each item's batch ended."""
        self.given_up: dict[Call, float] = {}

    def run(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None
    ) -> list[Any]:
        self.clock.now += self.slower * lasting(sum(map(len, sequences)))
        return [None] * len(sequences)

    def step(self) -> bool:
        """One turn of the loop; False when there is nothing to do any more."""
        if not self.batcher.waiting and self.arrivals:
            self.clock.now = max(self.clock.now, self.arrivals[0][0])
        while self.arrivals and self.arrivals[0][0] <= self.clock.now:
            self.batcher.add(self.arrivals.pop(0)[1])
        for call in self.batcher.late():
            self.given_up[call] = self.clock.now
            self.batcher.discard(call)
        batch = self.batcher.choose()
        if batch:
            self.batcher.settle(batch, self.batcher.run(batch))
            self.batches.append(batch)
            self.ends |= dict.fromkeys(batch, self.clock.now)
        return bool(batch or self.arrivals or self.batcher.waiting or self.batcher.late())

    def finish(self) -> None:
        while self.step():
            pass


def items(of: Call, *lengths: int) -> list[Item]:
    return [Item(call=of, index=index, tokens=[1] * length) for index, length in enumerate(lengths)]


def tokens_of(batch: Sequence[Item]) -> int:
    return sum(len(item.tokens) for item in batch)
