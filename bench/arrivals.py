"""Time to first token when requests arrive at random: our server against the library that it would replace. The bench's process.

Requests arrive as a Poisson process at 70 % of what CTranslate2 int8 does in closed batches of 32 of such requests. Both sides
get the same trace, in turns. The library runs all that is queued, at most 32, as soon as it is free, and its first tokens count
when the call returns; the server streams.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import floors, machine, plot, report, trace
from bench.candidate import Worker
from bench.lineup import Lineup
from bench.options import SLOTS, Options
from bench.preparation import prepare, tell, vocabulary
from bench.served import Served
from bench.shapes import Vocabulary
from bench.streams import listen
from bench.summary import percentile
from bench.trace import Request

LOAD = 0.7
_CLOSED_BATCHES = 3


@dataclass(slots=True)
class Side:
    """One candidate over all its traces."""

    first: list[float] = field(default_factory=list)
    """Seconds to the first token of each request."""
    processor: float = 0.0
    """Seconds of its processor time."""
    written: int = 0
    """Tokens."""


@dataclass(frozen=True, slots=True)
class Comparison:
    shape: str
    closed: float
    """Tokens that the library writes in a second, in closed batches."""
    rate: float
    """Requests a second of the traces."""
    sides: dict[str, Side]
    """The server first."""

    def multiple(self, share: float) -> float:
        """Our time to first token at a percentile, in multiples of the library's."""
        ours, theirs = (percentile(side.first, share) for side in self.sides.values())
        return ours / theirs


def measure(options: Options) -> None:
    watch = machine.Watch()
    names = ["gpt2", "marian"] if options.full else ["gpt2"]
    found = [compare(options.shape(name), options) for name in names]
    text = report.headed("Requests that arrive at random", machine.describe(), watch.load(), _lines(found))
    data = {"share_of_closed": LOAD, "comparisons": [_json(one) for one in found]}
    report.write(options, "arrivals", text, report.with_machine(watch, data), _plot(found))


def compare(name: str, options: Options) -> Comparison:
    shape = prepare(name, options)
    words = vocabulary(shape, options)
    lineup = Lineup(shape, words, options)
    traces, seconds = (1, 3.0) if options.tiny else (2, 40.0)
    with contextlib.ExitStack() as stack:
        library = stack.enter_context(lineup.ctranslate2("int8"))
        server = stack.enter_context(lineup.served("int8"))
        closed = closed_throughput(library, words)
        rate = LOAD * closed / statistics.mean(trace.WRITTEN)
        tell(f"{name}: CTranslate2 int8 writes {closed:.0f} tokens/s; {rate:.1f} requests/s arrive")
        server.generate(words.prompts([32], "warm"), 4)
        sides = {server.name: Side(), library.name: Side()}
        for number in range(traces):
            requests = arrivals(words, str(number), min(rate, 50.0), seconds)
            _serve(server, requests, sides[server.name])
            _batch(library, requests, sides[library.name])
            tell(f"{name}: trace {number + 1} of {traces}, {len(requests)} requests")
    return Comparison(name, closed, min(rate, 50.0), sides)


def closed_throughput(library: Worker, words: Vocabulary) -> float:
    """Tokens a second of batches of 32 requests of the trace's kind, all at once; the median."""
    found = []
    for number in range(_CLOSED_BATCHES + 1):  # the first one warms up
        requests = [Request(0, *pair) for pair in _requests(words, f"closed {number}", SLOTS)]
        began = time.perf_counter()
        library.generate_ragged([one.prompt for one in requests], [one.new_tokens for one in requests])
        found.append(sum(one.new_tokens for one in requests) / (time.perf_counter() - began))
    return statistics.median(found[1:])


def arrivals(words: Vocabulary, seed: str, rate: float, seconds: float) -> list[Request]:
    moments = trace.moments(seed, rate, seconds)
    pairs = _requests(words, seed, len(moments))
    return [Request(at, *pair) for at, pair in zip(moments, pairs, strict=True)]


def _requests(words: Vocabulary, seed: str, count: int) -> list[tuple[list[int], int]]:
    sizes = trace.sizes(seed, count)
    prompts = words.prompts([size.read for size in sizes], f"arrivals {seed}")
    return [(prompt, size.written) for prompt, size in zip(prompts, sizes, strict=True)]


def _serve(server: Served, requests: Sequence[Request], side: Side) -> None:
    before = server.processor_seconds()
    heard = listen(server, lambda listener: listener.play(requests))
    _count(side, requests, server.processor_seconds() - before, [one.first for one in heard])


def _batch(library: Worker, requests: Sequence[Request], side: Side) -> None:
    before, began = library.processor_seconds(), time.perf_counter()
    first: list[float] = []
    while len(first) < len(requests):
        batch = trace.due(requests, len(first), time.perf_counter() - began, SLOTS)
        if not batch:
            time.sleep(max(0.0, requests[len(first)].at - (time.perf_counter() - began)))
            continue
        library.generate_ragged([one.prompt for one in batch], [one.new_tokens for one in batch])
        now = time.perf_counter() - began
        first += [now - one.at for one in batch]
    _count(side, requests, library.processor_seconds() - before, first)


def _count(side: Side, requests: Sequence[Request], processor: float, first: list[float]) -> None:
    side.first += first
    side.processor += processor
    side.written += sum(one.new_tokens for one in requests)


def _lines(found: Sequence[Comparison]) -> list[str]:
    lines = [
        f"Poisson arrivals at {LOAD:.0%} of what CTranslate2 int8 writes in closed batches of {SLOTS}, {trace.READ[0]} to "
        f"{trace.READ[1]} tokens in, {trace.WRITTEN[0]} to {trace.WRITTEN[1]} out, the same traces for both, in turns. The library "
        f"runs all that is queued, at most {SLOTS}, as soon as it is free, ends each text at its own length, and its first tokens "
        "count when the call returns. The server streams over gRPC; the client runs on the same machine.",
        "",
        "| shape | candidate | requests | a second | first token p50, ms | p95, ms | processor ms per token |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        for name, side in one.sides.items():
            p50, p95 = (1e3 * percentile(side.first, share) for share in (0.5, 0.95))
            lines.append(
                f"| {one.shape} | {name} | {len(side.first)} | {one.rate:.2f} | {p50:.0f} | {p95:.0f} | "
                f"{1e3 * side.processor / side.written:.2f} |"
            )
    for one in found:
        half = one.multiple(0.5)
        verdict = floors.at_most(one.multiple(0.95), floors.FIRST_TOKEN)
        lines += ["", f"{one.shape}: ours to the library's {half:.2f} at p50, {verdict} at p95."]
    return lines


def _json(one: Comparison) -> dict[str, object]:
    return {
        "shape": one.shape,
        "closed_tokens_per_second": one.closed,
        "requests_per_second": one.rate,
        "p50_multiple": one.multiple(0.5),
        "p95_multiple": one.multiple(0.95),
        "floor": floors.FIRST_TOKEN,
        "sides": {
            name: {
                "p50": percentile(side.first, 0.5),
                "p95": percentile(side.first, 0.95),
                "processor_ms_per_token": 1e3 * side.processor / side.written,
                "first_token_seconds": side.first,
            }
            for name, side in one.sides.items()
        },
    }


def _plot(found: Sequence[Comparison]) -> str:
    panels = [
        plot.Panel(
            f"{one.shape}, {label}",
            {name: plot.point(1e3 * percentile(side.first, share)) for name, side in one.sides.items()},
        )
        for one in found
        for label, share in (("median", 0.5), ("95th percentile", 0.95))
    ]
    return plot.bars("Milliseconds to the first token, Poisson arrivals (less is better)", panels)
