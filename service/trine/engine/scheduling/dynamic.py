"""Dynamic batching for the encoder family: when the engine is free it runs what waits, up to a token budget.

It waits for nothing: while a batch runs the queue grows and the next batch is larger (docs/decisions/0005). Engine process, its only thread.

Deadlines, after the queue's rule that callers take turns:

- A call that would be late even if nothing but its own inputs ran from now on is given up.
- So is one whose turn has come and that would be late in the batch that is being filled: after it, it would be later still.
- A batch ends before the input that would make one of its members late. Where several callers wait, no two batches in a row are cut so:
  haste costs the others at most every second batch, and never a turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.pace import Pace
from trine.engine.scheduling.policy import Room
from trine.engine.scheduling.queue import FairQueue
from trine.engine.scheduling.runner import Encoder


class DynamicBatcher:
    """Whole inputs, one pass each."""

    running = 0
    """Nothing is left running between two steps."""
    cache_used = 0.0

    def __init__(self, encoder: Encoder, pace: Pace, clock: Callable[[], float]) -> None:
        """`clock` is the one of the deadlines, in seconds."""
        self._encoder = encoder
        self._pace = pace
        self._clock = clock
        self._queue: FairQueue[Item] = FairQueue()
        self._left: dict[Call, int] = {}
        """The tokens that wait of each call."""
        self._tokens = 0
        """All of them."""
        self._given_up: set[Call] = set()
        self._cut = False
        """Whether the last batch ended before an input that would have made a member late."""

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, items: Sequence[Item]) -> None:
        """Those of a call run from short to long: attention is padded to a batch's longest, and its answer waits for all in any case."""
        self._queue.add(sorted(items, key=_length))
        for item in items:
            self._left[item.call] = self._left.get(item.call, 0) + len(item.tokens)
            self._tokens += len(item.tokens)

    def discard(self, call: Call) -> int:
        """Forget what waits of a call. Returns the tokens that were computed in vain: none."""
        self._queue.discard(call)
        self._tokens -= self._left.pop(call, 0)
        self._given_up.discard(call)
        return 0

    def late(self) -> list[Call]:
        """The calls that are given up; they wait until they are discarded, and do not run meanwhile."""
        now = self._clock()
        horizon = now + self._pace.at_least(self._tokens)
        for call, tokens in self._left.items():
            # Who has time for all that waits has time for itself: the curve is asked for few.
            if call.deadline < horizon and call.deadline < now + self._pace.at_least(tokens):
                self._given_up.add(call)
        if self._given_up:
            self._pace.doubt()
        return list(self._given_up)

    def choose(self) -> list[Item]:
        now, room, batch = self._clock(), Room(self._pace.budget), list[Item]()
        whole = self._cut and self._queue.callers > 1
        least = min(self._tokens, room.budget) if whole else 0
        must_end, self._cut = math.inf, False
        while (item := self._queue.first()) is not None:
            tokens, deadline = room.tokens + len(item.tokens), item.call.deadline
            if deadline < now + self._pace.at_least(max(tokens, least)):
                self._give_up(item.call)
                continue
            end = now + self._pace.likely(tokens)
            if end > must_end and not whole:
                self._cut = True
                break
            if not room.take(len(item.tokens)):
                break
            if end <= deadline:
                must_end = min(must_end, deadline)
            batch.append(self._take(item))
        return batch

    def run(self, batch: Sequence[Item]) -> list[Any]:
        began = self._clock()
        outputs = list(self._encoder.run([item.tokens for item in batch], [item.types for item in batch]))
        self._pace.saw(sum(item.chunk for item in batch), self._clock() - began)
        return outputs

    def settle(self, batch: Sequence[Item], outputs: Sequence[Any]) -> list[Item]:
        """Hand each item its output. Returns the items that have news: all."""
        for item, output in zip(batch, outputs, strict=True):
            item.output = output
        return list(batch)

    def _take(self, item: Item) -> Item:
        item.chunk = len(item.tokens)
        self._tokens -= item.chunk
        self._left[item.call] -= item.chunk
        if not self._left[item.call]:
            del self._left[item.call]
        return self._queue.take(item)

    def _give_up(self, call: Call) -> None:
        """Nothing of it runs any more; it is told with the next `late`."""
        self.discard(call)
        self._given_up.add(call)


def _length(item: Item) -> int:
    return len(item.tokens)
