"""Measures candidates on pieces of work, and writes what is measured so far after each. The bench's process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from bench import machine, plot, rounds
from bench import report as pages
from bench.candidate import Measurable
from bench.encoder import lengths, report
from bench.encoder.lengths import Lengths
from bench.encoder.options import EncoderOptions
from bench.encoder.report import Found
from bench.encoder.work import EncoderWork
from bench.preparation import tell
from bench.shapes import Tokens, Vocabulary


class Run:
    """The measurements of one part. `name` is that of its files, `title` and `intro` go on its page."""

    def __init__(self, options: EncoderOptions, name: str, title: str, intro: str) -> None:
        self.left_out: list[str] = []
        self._options = options
        self._name = options.named(name)
        self._title, self._intro = title, intro
        self._watch = machine.Watch()
        self._real = lengths.measured(options.data) if options.data else lengths.load()
        self._measured: list[Found] = []
        self._facts: dict[str, dict[str, str]] = {}

    def measure(
        self, works: Iterable[EncoderWork], candidates: Iterable[Measurable], words: Vocabulary
    ) -> None:
        """Candidates run from the first piece of work to the last."""
        with contextlib.ExitStack() as stack:
            running = [stack.enter_context(one) for one in candidates]
            self._facts |= {one.name: one.facts for one in running}
            for work in works:
                sequences = drawn(work, self._real, words)
                self._measured.append(rounds.measure(work, running, self._options.rounds, sequences, tell))
                self.write()

    def write(self) -> str:
        """The tables, the plot and the samples. Returns the page."""
        lines = report.page(self._intro, self._measured, self._facts, self.left_out)
        text = pages.headed(self._title, machine.describe(), self._watch.load(), lines)
        data = report.as_json(self._measured, self._facts, self.left_out)
        drawing = plot.closed(self._measured, "sequence")
        pages.write(self._options, self._name, text, pages.with_machine(self._watch, data), drawing)
        return text


def drawn(work: EncoderWork, real: Lengths, words: Vocabulary) -> Callable[[str], Tokens]:
    """The sequences of a seed."""
    return lambda seed: words.prompts(work.lengths(real, seed), f"{seed} {work}")
