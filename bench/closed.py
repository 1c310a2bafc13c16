"""Closed batches: our runners and our server against CTranslate2, PyTorch and optimum-onnx, greedy and with beams. The bench's process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import floors, machine, plot, report, rounds
from bench.candidate import Candidate
from bench.lineup import Lineup
from bench.options import SLOTS, Options
from bench.preparation import optimum_graphs, prepare, tell, vocabulary
from bench.rounds import Measured
from bench.shapes import SHAPES, Tokens, Vocabulary, Work

NEW_TOKENS = 32
LONG = 256
BEAMS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Work on one shape that the same candidates do, which run from the first piece to the last."""

    shape: str
    works: tuple[Work, ...]
    rounds: int
    peers: str = "all"
    """all, beams (those that search), or usual (all but optimum-onnx)."""


def measure(options: Options) -> None:
    """Prepare, measure and write the results, group by group."""
    groups = plan(options)
    run = Run(options)
    for name in dict.fromkeys(group.shape for group in groups):
        prepare(name, options)
    for group in groups:
        run.measure(group)
    run.write()


def plan(options: Options) -> list[Group]:
    """The most important first: what the floors speak of, then long prompts."""
    gpt2, marian = options.shape("gpt2"), options.shape("marian")
    batches = (1, 4) if options.tiny else (1, 8, SLOTS)
    long_batches = batches if options.full else batches[:-1]
    short = [Group(name, _works(name, batches, None), options.rounds) for name in (gpt2, marian)]
    beam = Work(marian, batches[1], floors.SHORT["marian"], NEW_TOKENS, BEAMS)
    fewer = max(1, options.rounds - 2)
    long = [Group(name, _works(name, long_batches, LONG), fewer, "usual") for name in (gpt2, marian)]
    return [*short, Group(marian, (beam,), options.rounds, "beams"), *long]


def _works(name: str, batches: Iterable[int], length: int | None) -> tuple[Work, ...]:
    length = length or floors.SHORT[SHAPES[name].architecture]
    return tuple(Work(name, batch, length, NEW_TOKENS) for batch in batches)


class Run:
    """What is measured so far, and for how long that has been going on."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._watch = machine.Watch()
        self._end = time.monotonic() + 60 * options.minutes
        self._measured: list[Measured[Work]] = []
        self._left_out: list[str] = []
        self._facts: dict[str, dict[str, str]] = {}

    def measure(self, group: Group) -> None:
        """Writes the results after each piece of work, so that a run that breaks leaves what it has."""
        words = vocabulary(SHAPES[group.shape], self._options)
        with contextlib.ExitStack() as stack:
            running: list[Candidate] = []
            for work in group.works:
                if time.monotonic() > self._end:
                    self._left_out.append(f"{group.shape}, {work}: the time was used up")
                    continue
                if not running:
                    running = self._start(group, words, stack)
                found = rounds.measure(work, running, group.rounds, _prompts(work, words), tell)
                self._measured.append(found)
                self.write()

    def _start(self, group: Group, words: Vocabulary, stack: contextlib.ExitStack) -> list[Candidate]:
        lineup = Lineup(SHAPES[group.shape], words, self._options)
        if group.peers == "beams":
            ready: Iterable[Candidate] = lineup.beams()
        else:
            ready = lineup.greedy(group.peers == "all" and self._has_optimum(group.shape))
        running = [stack.enter_context(one) for one in ready]
        self._facts |= {one.name: self._facts.get(one.name, {}) | one.facts for one in running}
        return running

    def _has_optimum(self, shape: str) -> bool:
        reason = optimum_graphs(SHAPES[shape], self._options)
        if reason:
            self._left_out.append(f"{shape}: {reason}")
        return reason is None

    def write(self) -> None:
        """The tables, the plot and the samples, as far as they are."""
        described, load = machine.describe(), self._watch.load()
        text = report.markdown(described, load, self._facts, self._measured, self._left_out)
        data = report.as_json(described, load, self._facts, self._measured, self._left_out)
        report.write(self._options, "generation", text, data, plot.closed(self._measured))


def _prompts(work: Work, words: Vocabulary) -> Callable[[str], Tokens]:
    lengths: Sequence[int] = [work.input_tokens] * work.batch
    return lambda seed: words.prompts(lengths, f"{seed} {work}")
