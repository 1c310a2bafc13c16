"""Continuous batching for the generating families: sequences join and leave between any two steps.

A waiting sequence is admitted when a row of the cache is free, keeps the row until it is finished or discarded, and gets at most
one token a step. Engine process, its only thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Many
from typing import Generic, TypeVar

from trine.engine.scheduling.call import Call
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.policy import Room, chunk_size, plan_mixed_step
from trine.engine.scheduling.queue import FairQueue
from trine.engine.scheduling.rows import Rows
from trine.engine.scheduling.runner import Chunk, Runner
from trine.engine.scheduling.sequence import Sequence

S = TypeVar("S", bound=Sequence)


class ContinuousBatcher(ABC, Generic[S]):
    """What both families share: the queue, the rows, and how a step is run and settled."""

    def __init__(self, runner: Runner, budget: int, meter: Meter) -> None:
        self._runner = runner
        self._budget = budget
        self._meter = meter
        self._queue: FairQueue[S] = FairQueue()
        self._rows: Rows[S] = Rows(runner.slots, runner.move)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        return len(self._rows)

    @property
    def cache_used(self) -> float:
        return len(self._rows) / self._rows.slots

    def add(self, sequences: Many[S]) -> None:
        self._queue.add(sequences)

    def discard(self, call: Call) -> int:
        """Forget all sequences of a call, waiting or running. Returns the tokens that were computed in vain."""
        self._queue.discard(call)
        gone = [sequence for sequence in self._rows if sequence.call is call]
        self._rows.release(gone)
        return sum(one.past + len(one.tokens) * one.encoded for one in gone)

    @abstractmethod
    def choose(self) -> list[S]:
        """Admit what may run, set each running sequence's `chunk`, return those with one, in the order of their rows."""

    def run(self, batch: Many[S]) -> list[int]:
        """One step; the next tokens of the sequences whose context it completes."""
        return self._runner.step([_chunk(sequence) for sequence in batch])

    def settle(self, batch: Many[S], tokens: Many[int]) -> list[S]:
        """Write the tokens, take back the rows of what is finished. Returns the sequences that got a token."""
        news = [sequence for sequence in batch if sequence.completes]
        for sequence in batch:
            sequence.past += sequence.chunk
        for sequence, token in zip(news, tokens, strict=True):
            sequence.take(token)
            self._meter.wrote(sequence)
        self._rows.release([sequence for sequence in news if sequence.finish])
        return news


class DecoderBatcher(ContinuousBatcher[S]):
    """Decoder-only: each step mixes one token of every running text with chunks of new prompts."""

    def __init__(self, runner: Runner, budget: int, meter: Meter) -> None:
        super().__init__(runner, budget, meter)
        self._chunk_size = chunk_size(runner.max_chunk, runner.slots, budget)

    def choose(self) -> list[S]:
        while self._queue and not self._rows.full:
            self._rows.place(self._queue.pop())
        admitted = sorted(self._rows, key=lambda sequence: sequence.admission)
        plan = plan_mixed_step([one.remaining for one in admitted], self._budget, self._chunk_size)
        for sequence, tokens in zip(admitted, plan, strict=True):
            sequence.chunk = tokens
        return [sequence for sequence in self._rows if sequence.chunk]


class EncoderDecoderBatcher(ContinuousBatcher[S]):
    """Encoder-decoder: a step either encodes new sources, or writes one token in every row.

    Two steps that encode never follow one another while texts are being written, so that no stream stalls. That they are steps
    of their own means that a source on which the encoder fails takes no running text with it.
    """

    def __init__(self, runner: Runner, budget: int, meter: Meter) -> None:
        super().__init__(runner, budget, meter)
        self._encoding = False
        """Whether the step that was chosen last encodes."""

    def choose(self) -> list[S]:
        must_write = self._encoding and len(self._rows) > 0
        self._encoding = not must_write and self._admit()
        batch = [sequence for sequence in self._rows if sequence.encoded is not self._encoding]
        for sequence in batch:
            sequence.chunk = len(sequence.tokens) if self._encoding else sequence.remaining
        return batch

    def _admit(self) -> bool:
        """Give rows to as many sources as fit the token budget; whether there was any."""
        room = Room(self._budget)
        while (sequence := self._queue.first()) is not None and not self._rows.full:
            if not room.take(len(sequence.tokens)):
                break
            self._rows.place(self._queue.pop())
        return room.count > 0

    def run(self, batch: Many[S]) -> list[int]:
        if self._encoding:
            self._runner.insert([(sequence.row, sequence.tokens) for sequence in batch])
            return []
        return super().run(batch)

    def settle(self, batch: Many[S], tokens: Many[int]) -> list[S]:
        if self._encoding:
            for sequence in batch:
                sequence.encoded = True
            return []
        return super().settle(batch, tokens)


def _chunk(sequence: Sequence) -> Chunk:
    tokens = sequence.context[sequence.past : sequence.past + sequence.chunk]
    return Chunk(sequence.row, tokens, sequence.past, sequence.choice if sequence.completes else None)
