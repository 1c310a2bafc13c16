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
from trine.engine.scheduling.prefix import PrefixCache
from trine.engine.scheduling.queue import FairQueue
from trine.engine.scheduling.rows import Rows
from trine.engine.scheduling.runner import Chunk, Outcome, PrefixRunner, Runner
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
        return self._rows.used / self._rows.slots

    def add(self, sequences: Many[S]) -> None:
        self._queue.add(sequences)

    def discard(self, call: Call) -> int:
        """Forget all sequences of a call, waiting or running. Returns the tokens that were computed in vain."""
        self._queue.discard(call)
        gone = [sequence for sequence in self._rows if sequence.call is call]
        self._rows.release(gone)
        return sum(_computed(sequence) for sequence in gone)

    def late(self) -> list[Call]:
        """None: how long a generation takes shows only when it ends."""
        return []

    @abstractmethod
    def choose(self) -> list[S]:
        """Admit what may run, set each running sequence's `chunk`, return those with one."""

    def run(self, batch: Many[S]) -> list[Outcome]:
        """One step; the outcomes of the sequences whose context it completes."""
        chunks: list[Chunk] = []
        for sequence in batch:
            if sequence.beams:
                chunks += _beam_chunks(sequence)
            else:
                chunks.append(_chunk(sequence))
        return self._runner.step(chunks)

    def settle(self, batch: Many[S], outcomes: Many[Outcome]) -> list[S]:
        """Write the next tokens, take back the rows of what is finished. Returns the sequences that got a token."""
        news = [sequence for sequence in batch if sequence.completes]
        for sequence in batch:
            sequence.past += sequence.chunk
        for sequence, outcome in zip(news, outcomes, strict=True):
            if isinstance(outcome, int):
                sequence.take(outcome)
            else:
                for source, target in sequence.branch(outcome):
                    self._runner.fork(source, target)
            self._meter.wrote(sequence)
        self._rows.release([sequence for sequence in news if sequence.finish])
        return news


class DecoderBatcher(ContinuousBatcher[S]):
    """Decoder-only: each step mixes one token of every running text with chunks of new prompts."""

    def __init__(self, runner: PrefixRunner, budget: int, meter: Meter, prefix_cache_bytes: int = 0) -> None:
        super().__init__(runner, budget, meter)
        self._chunk_size = chunk_size(runner.max_chunk, runner.slots, budget)
        self._prefixes = PrefixCache(runner, self._chunk_size, prefix_cache_bytes, meter)

    def choose(self) -> list[S]:
        while (sequence := self._queue.first(self._rows.fit)) is not None:
            self._rows.place(self._queue.take(sequence))
            self._prefixes.restore(sequence)
        budget = self._budget - sum(one.lanes - 1 for one in self._rows if one.beams)
        plan = plan_mixed_step([one.remaining for one in self._rows], budget, self._chunk_size)
        for sequence, tokens in zip(self._rows, plan, strict=True):
            sequence.chunk = tokens
        return [sequence for sequence in self._rows if sequence.chunk]

    def settle(self, batch: Many[S], outcomes: Many[Outcome]) -> list[S]:
        for sequence in batch:
            if sequence.chunk == self._chunk_size:
                self._prefixes.save(sequence)
        return super().settle(batch, outcomes)


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
        while (sequence := self._queue.first(self._rows.fit)) is not None:
            if not room.take(len(sequence.tokens)):
                break
            self._rows.place(self._queue.take(sequence))
        return room.count > 0

    def run(self, batch: Many[S]) -> list[Outcome]:
        if self._encoding:
            self._runner.insert([(row, sequence.tokens) for sequence in batch for row in sequence.rows])
            return []
        return super().run(batch)

    def settle(self, batch: Many[S], outcomes: Many[Outcome]) -> list[S]:
        if self._encoding:
            for sequence in batch:
                sequence.encoded = True
            return []
        return super().settle(batch, outcomes)


def _chunk(sequence: Sequence) -> Chunk:
    tokens = sequence.context[sequence.past : sequence.past + sequence.chunk]
    return Chunk(sequence.row, tokens, sequence.past, sequence.choice if sequence.completes else None)


def _beam_chunks(sequence: Sequence) -> list[Chunk]:
    """The newest token of each beam. There may be fewer of them than rows."""
    rows = zip(sequence.rows, sequence.beams, strict=False)
    return [Chunk(row, [token], sequence.past, sequence.choice) for row, token in rows]


def _computed(sequence: Sequence) -> int:
    """Tokens that were run for a sequence up to now."""
    prompt = min(sequence.past, sequence.begin) - sequence.cached
    written = max(sequence.past - sequence.begin, 0)
    return prompt + written * sequence.lanes + len(sequence.tokens) * sequence.encoded
