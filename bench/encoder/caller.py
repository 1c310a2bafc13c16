"""Part caller: what one caller of single short texts feels beside another who sends 64 at once. The bench's process, three threads.

Both call the same server at its defaults, from two addresses, since callers at one address count as one. Phases alone and beside the
other take turns. How long batches last, the server's page of metrics tells, which is read 25 times a second beside the other (it costs the server
some 2 ms each time, which the callers feel).
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from bench import floors, machine, plot, report
from bench.encoder import batch_times
from bench.encoder.batch_times import Ran
from bench.encoder.lineup import Lineup
from bench.encoder.options import EncoderOptions
from bench.encoder.served import Called
from bench.preparation import tell, vocabulary
from bench.shapes import SHAPES, Vocabulary
from bench.summary import percentile
from trine.client import Client

SINGLE, MANY, LENGTH = 16, 64, 64
"""Tokens of the single text; texts of the other's calls, and tokens of each."""
PRECISION = "fp32"
_SECONDS, _ROUNDS = 12.0, 3
_TIMEOUT = 120.0
_READ_EVERY = 0.04
"""Seconds: shorter than most batches, so that each is told by itself."""


@dataclass(slots=True)
class Found:
    """Seconds of calls, and of the batches that ran beside the other caller."""

    shape: str
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    """The other caller's calls."""
    batches: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """What the p99 gains beside the other, in multiples of the longest batch."""
        return (percentile(self.beside, 0.99) - percentile(self.alone, 0.99)) / max(self.batches)


def measure(options: EncoderOptions) -> str:
    """Returns the page."""
    watch = machine.Watch()
    found = [_measure(name, options) for name in options.shapes]
    text = report.headed(
        "A single caller beside one of 64 texts", machine.describe(), watch.load(), _lines(found)
    )
    name = options.named("encoders-caller")
    report.write(options, name, text, report.with_machine(watch, {"callers": to_json(found)}), _plot(found))
    return text


def _measure(name: str, options: EncoderOptions) -> Found:
    shape = SHAPES[name]
    words = vocabulary(shape, options)
    seconds, rounds = (1.0, 1) if options.tiny else (_SECONDS, _ROUNDS)
    found = Found(name)
    with Lineup(shape, options).reachable(PRECISION, words) as server:
        port = server.target.rpartition(":")[2]
        with Client(f"[::1]:{port}", timeout=_TIMEOUT) as single:
            pair = Pair(server, single, words)
            pair.alone(seconds / 4)
            for number in range(rounds):
                found.alone += pair.alone(seconds)
                pair.beside(seconds, found)
                tell(f"{name}, a single caller beside another: round {number + 1} of {rounds}")
    return found


class Pair:
    """The two callers: `server.client` sends many texts, `single` one."""

    def __init__(self, server: Called, single: Client, words: Vocabulary) -> None:
        self._server, self._single = server, single
        self._text = self._texts(words, [SINGLE])[0]
        self._many = self._texts(words, [LENGTH] * MANY)

    def _texts(self, words: Vocabulary, lengths: Sequence[int]) -> list[str]:
        return [words.text(prompt) for prompt in words.prompts(lengths, "caller")]

    def alone(self, seconds: float) -> list[float]:
        """Seconds of the single caller's calls, one after another."""
        end = time.perf_counter() + seconds
        return timed(self._ask, lambda: time.perf_counter() < end)

    def beside(self, seconds: float, found: Found) -> None:
        """The same while the other calls without a pause; adds to `found` what both calls and the batches took."""
        stop, begun = threading.Event(), threading.Event()

        def go_on() -> bool:
            begun.set()
            return not stop.is_set()

        with ThreadPoolExecutor(2) as pool:
            others = pool.submit(timed, self._ask_many, go_on)
            begun.wait()
            readings = pool.submit(self._read_until, stop)
            try:
                found.beside += self.alone(seconds)
            finally:
                stop.set()
            found.others += others.result()
            found.batches += batch_times.durations(readings.result())

    def _read_until(self, stop: threading.Event) -> list[Ran]:
        address, readings = f"http://[::1]:{self._server.http_port}/metrics", []
        while True:
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
                readings.append(batch_times.read(answer.read().decode()))
            if stop.wait(_READ_EVERY):
                return readings

    def _ask(self) -> None:
        self._single.classify(self._server.checkpoint, self._text)

    def _ask_many(self) -> None:
        self._server.client.classify(self._server.checkpoint, self._many)


def timed(ask: Callable[[], None], go_on: Callable[[], bool]) -> list[float]:
    """Seconds of each call, one after another, at least one."""
    taken: list[float] = []
    while go_on() or not taken:
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return taken


# --- what is told ----------------------------------------------------------------------------------------------------


def to_json(found: Sequence[Found]) -> list[dict[str, object]]:
    return [
        asdict(one)
        | {
            "alone_p99": percentile(one.alone, 0.99),
            "beside_p99": percentile(one.beside, 0.99),
            "longest_batch": max(one.batches),
            "growth": one.growth,
            "floor": floors.BESIDE,
        }
        for one in found
    ]


def _lines(found: Sequence[Found]) -> list[str]:
    lines = [
        f"One caller sends single texts of {SINGLE} tokens, one after another; another, at another address, {MANY} texts of {LENGTH} tokens in a call, "
        f"without a pause. {PRECISION}, served over gRPC, all at its defaults. Milliseconds; beside them the number of samples.",
        "",
        "| shape | alone, p50 | alone, p99 | beside, p50 | beside, p99 | the other's call, p50 | batch, p50 | batch, longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        cells = [
            *(f"{1e3 * percentile(one.alone, share):.3g} ({len(one.alone)})" for share in (0.5, 0.99)),
            *(f"{1e3 * percentile(one.beside, share):.3g} ({len(one.beside)})" for share in (0.5, 0.99)),
            f"{1e3 * percentile(one.others, 0.5):.3g} ({len(one.others)})",
            *(f"{1e3 * percentile(one.batches, share):.3g} ({len(one.batches)})" for share in (0.5, 1)),
        ]
        lines.append(f"| {one.shape} | {' | '.join(cells)} |")
    verdicts = (f"{one.shape} {floors.at_most(one.growth, floors.BESIDE)}" for one in found)
    return [
        *lines,
        "",
        f"The p99 gained beside the other, in multiples of the longest batch: {', '.join(verdicts)}.",
    ]


def _plot(found: Sequence[Found]) -> str:
    panels = [plot.Panel(one.shape, plot.disturbance(one.alone, one.beside)) for one in found]
    return plot.bars("Milliseconds of a single text, alone and beside calls of 64 (less is better)", panels)
