"""Interleaved measuring: each round runs every candidate once on the same prompts, one after another (A B C A B C). The bench's process.

Where a candidate repeats, each repeat has prompts of its own: the server keeps what it computed of a prompt (the prefix cache), and
would not compute it twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from bench.shapes import Tokens
from bench.summary import Sample

_LEAST_PROCESSOR = 0.6
"""Seconds of processor time of one sample, for the kernel's ticks of 10 ms to be small; shorter work is repeated."""
_MOST_REPEATS = 16
_PAUSE = 0.1
"""Seconds between two candidates, so that the threads of the one before have stopped to spin."""


class Counted(Protocol):
    """What can be measured."""

    name: str

    def processor_seconds(self) -> float: ...


class Asks(Protocol):
    """A piece of work, and how a candidate for it is asked."""

    @property
    def shape(self) -> str: ...
    @property
    def units(self) -> int:
        """Tokens or sequences that one batch is answered with, by which the figures are divided."""

    def ask(self, candidate: Any, prompts: Tokens) -> list[list[Any]]: ...


W = TypeVar("W")


@dataclass(slots=True)
class Measured(Generic[W]):
    """One piece of work: the samples of each candidate, and what they answered in the first round."""

    work: W
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    written: dict[str, list[list[Any]]] = field(default_factory=dict)

    def agreement(self, reference: str) -> dict[str, float]:
        """The share of the prompts on which a candidate wrote the reference's tokens, all of them."""
        expected = self.written.get(reference)
        if not expected:
            return {}
        return {
            name: sum(a == b for a, b in zip(answers, expected, strict=True)) / len(expected)
            for name, answers in self.written.items()
            if name != reference and all(answers)
        }


A = TypeVar("A", bound=Asks)


def measure(
    work: A,
    candidates: Sequence[Counted],
    rounds: int,
    prompts: Callable[[str], Tokens],
    told: Callable[[str], None],
) -> Measured[A]:
    """`prompts` gives those of "ROUND.REPEAT". Before the first round each candidate runs once unmeasured, which also sets its repeats."""
    measured = Measured(work)
    for candidate in candidates:
        _, processor, _ = run(candidate, [prompts("before")], work)
        repeats = math.ceil(_LEAST_PROCESSOR / max(processor, 1e-3))
        measured.repeats[candidate.name] = min(_MOST_REPEATS, repeats)
        measured.samples[candidate.name] = []
    for number in range(rounds):
        for candidate in candidates:
            repeats = measured.repeats[candidate.name]
            batches = [prompts(f"{number}.{repeat}") for repeat in range(repeats)]
            written, processor, wall = run(candidate, batches, work)
            each = 1e3 / (repeats * work.units)
            measured.samples[candidate.name].append(Sample(processor * each, wall * each))
            measured.written.setdefault(candidate.name, written)
        told(f"{work.shape}, {work}: round {number + 1} of {rounds}")
    return measured


def run(candidate: Counted, batches: Sequence[Tokens], work: Asks) -> tuple[list[list[Any]], float, float]:
    """What was answered to the first batch, and the seconds of processor time and of the clock that all took."""
    time.sleep(_PAUSE)
    before, began = candidate.processor_seconds(), time.perf_counter()
    written = [work.ask(candidate, prompts) for prompts in batches]
    wall, after = time.perf_counter() - began, candidate.processor_seconds()
    return written[0], after - before, wall
