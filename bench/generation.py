"""Closed batches of greedy generation: our runners and our server against CTranslate2 and PyTorch. READ THIS FIRST.

    python -m bench.generation            about 12 minutes, plus about 4 the first time, for the checkpoints
    python -m bench.generation --tiny     a minute, to see that all parts work; the figures mean nothing

Prepares what is missing under var/bench, starts every candidate, measures in interleaved rounds, and writes a table, a plot and
all samples to bench/results.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import ctranslate2_setup, floors, machine, plot, report, rounds, served, shapes
from bench.candidate import Candidate, Worker
from bench.rounds import Measured
from bench.shapes import SHAPES, Shape, Work

ROOT = Path(__file__).parents[1]
SLOTS = 32
"""Sequences that run at once: the largest batch."""
NEW_TOKENS = 32
LONG = 256
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""The peers' threads sleep while they wait for one another, as ours do: on a busy machine spinning would count against them."""


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path
    results: Path
    rounds: int
    threads: int
    minutes: float
    tiny: bool
    full: bool


def main() -> None:
    options = _options()
    groups = plan(options)
    for name in dict.fromkeys(group[0].shape for group in groups):
        prepare(SHAPES[name], options)
    run = Run(options)
    for group in groups:
        run.measure(group)
    print(run.write())


class Run:
    """What is measured so far, and for how long that has been going on."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._watch = machine.Watch()
        self._end = time.monotonic() + 60 * options.minutes
        self._measured: list[Measured] = []
        self._left_out: list[str] = []
        self._facts: dict[str, dict[str, str]] = {}

    def measure(self, group: Sequence[Work]) -> None:
        """All work on one shape, with its candidates running from the first piece to the last."""
        shape = SHAPES[group[0].shape]
        words, end_ids = _words(self._options.folder / shape.name)
        with contextlib.ExitStack() as stack:
            running: list[Candidate] = []
            for work in group:
                if time.monotonic() > self._end:
                    self._left_out.append(f"{shape.name}, {work}")
                    continue
                if not running:
                    running = [stack.enter_context(one) for one in candidates(shape, words, self._options)]
                    self._facts |= {one.name: self._facts.get(one.name, {}) | one.facts for one in running}
                prompts = functools.partial(shapes.prompts, work, list(words), end_ids)
                self._measured.append(rounds.measure(work, running, self._options.rounds, prompts, _tell))
                self.write()  # after each piece, so that a run that breaks leaves what it has

    def write(self) -> str:
        """The tables, the plot and the samples, as far as they are. Returns the tables."""
        name = "generation-tiny" if self._options.tiny else "generation"
        described, load = machine.describe(), self._watch.load()
        text = report.markdown(described, load, self._facts, self._measured, self._left_out)
        data = report.as_json(described, load, self._facts, self._measured)
        report.write(self._options.results, name, text, data)
        (self._options.results / f"{name}.svg").write_text(plot.bars(self._measured), encoding="utf-8")
        return text


def plan(options: Options) -> list[list[Work]]:
    """Groups of work on one shape, the most important first: what the floors speak of, then long prompts."""
    names = ("gpt2-tiny", "marian-tiny") if options.tiny else ("gpt2-124m", "marian-6-6")
    batches = (1, 4) if options.tiny else (1, 8, SLOTS)
    long_batches = batches if options.full or options.tiny else batches[:-1]
    short = [
        [Work(name, b, floors.SHORT[SHAPES[name].architecture], NEW_TOKENS) for b in batches]
        for name in names
    ]
    return short + [[Work(name, b, LONG, NEW_TOKENS) for b in long_batches] for name in names]


def prepare(shape: Shape, options: Options) -> None:
    """Make, export and convert the checkpoint, each where it is missing, each in a process of its own."""
    _tell(f"preparing {shape.name} under {options.folder}")
    command = [sys.executable, "-W", "ignore", "-m", "bench.checkpoints", shape.name, str(options.folder)]
    with (options.folder / "prepare.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    python = ctranslate2_setup.environment(options.folder)
    for compute_type in ("float32", "int8"):
        target = options.folder / shape.name / f"ctranslate2-{compute_type}"
        ctranslate2_setup.convert(
            python, options.folder / shape.name / "checkpoint", target, compute_type, _tell
        )


def candidates(shape: Shape, words: dict[int, str], options: Options) -> Iterator[Candidate]:
    """In the order in which a round runs them."""
    folder, threads = options.folder, str(options.threads)
    peers = ctranslate2_setup.environment(folder)
    home = folder / shape.name
    settings = served.settings(folder / "repository", options.threads, SLOTS, shape.cache_bytes)
    for precision, compute_type in (("fp32", "float32"), ("int8", "int8")):
        artifact = folder / "repository" / f"{shape.name}-{precision}" / "1" / "artifact"
        arguments = [str(artifact), threads, str(SLOTS)]
        log = home / f"runtime-{precision}.log"
        yield Worker(f"runtime {precision}", Path(sys.executable), "runtime", arguments, log, {})
        yield served.Served(f"served {precision}", f"{shape.name}-{precision}", home, words, settings)
        arguments = [str(home / f"ctranslate2-{compute_type}"), compute_type, threads]
        log = home / f"ctranslate2-{precision}.log"
        environment = _PASSIVE | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        yield Worker(f"CTranslate2 {precision}", peers, "ctranslate2", arguments, log, environment)
    arguments = [str(home / "checkpoint"), threads]
    environment = _PASSIVE | {"HF_HUB_OFFLINE": "1"}
    yield Worker(
        floors.PYTORCH, Path(sys.executable), "pytorch", arguments, home / "pytorch.log", environment
    )


def _words(home: Path) -> tuple[dict[int, str], list[int]]:
    data = json.loads((home / "checkpoint" / "words.json").read_text(encoding="utf-8"))
    return {int(token): word for token, word in data["words"].items()}, data["end_ids"]


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.generation", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "bench", help="checkpoints, exports, environments"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of each candidate")
    parser.add_argument("--minutes", type=float, default=13, help="no further work is begun after that")
    parser.add_argument("--tiny", action="store_true", help="tiny checkpoints: do all parts work?")
    parser.add_argument(
        "--full", action="store_true", help="also 32 prompts of 256 tokens, which takes 10 minutes more"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    return Options(**vars(options))


if __name__ == "__main__":
    main()
