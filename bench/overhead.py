"""What front and engine add to each generated token: the server's processor time less the bare runners'. The bench's process.

The checkpoint is as thin as a graph can be (one layer of 64), with GPT-2's vocabulary: what is added does not depend on the weights,
and beside a full-size graph it drowns in the graph's own noise. Eight prompts in one call, and eight streams.
"""

from __future__ import annotations

import contextlib

from bench import floors, machine, plot, report, rounds
from bench.candidate import Candidate
from bench.lineup import Lineup
from bench.options import Options
from bench.preparation import prepare, tell, vocabulary
from bench.rounds import Measured
from bench.served import Streamed
from bench.shapes import Work
from bench.summary import Spread, overhead, spread

_SHAPE = "gpt2-thin"
_ROUNDS = 7


def measure(options: Options) -> None:
    watch = machine.Watch()
    found = run(options)
    text = report.headed("What the server adds", machine.describe(), watch.load(), _lines(found))
    report.write(options, "overhead", text, report.with_machine(watch, _json(found)), _plot(found))


def run(options: Options) -> Measured[Work]:
    shape = prepare(_SHAPE, options, peers=False)
    words = vocabulary(shape, options)
    lineup = Lineup(shape, words, options)
    work = Work(_SHAPE, 8, 32, 64)
    with contextlib.ExitStack() as stack:
        ready: tuple[Candidate, ...] = (
            lineup.runtime("fp32"),
            lineup.served("fp32"),
            lineup.served("fp32", Streamed),
        )
        running = [stack.enter_context(one) for one in ready]
        number = 2 if options.tiny else _ROUNDS
        lengths = [work.input_tokens] * work.batch
        return rounds.measure(work, running, number, lambda seed: words.prompts(lengths, seed), tell)


def added(found: Measured[Work]) -> dict[str, Spread]:
    """Milliseconds for each token, of one call with eight prompts and of eight streams."""
    bare = found.samples["runtime fp32"]
    return {name: spread(overhead(found.samples[f"{name} fp32"], bare)) for name in ("served", "streamed")}


def _lines(found: Measured[Work]) -> list[str]:
    lines = [
        f"{found.work}, {len(found.samples['runtime fp32'])} rounds. A checkpoint with one layer of 64 and GPT-2's vocabulary, so "
        "that the graph's noise does not hide what is added. `served`: one call with 8 prompts; `streamed`: 8 streams. Server and "
        "engine, the client left out.",
        "",
        "| candidate | processor ms per token | added to the bare runtime | floor |",
        "| --- | --- | --- | --- |",
    ]
    extra = added(found)
    for name, samples in found.samples.items():
        value = extra.get(name.split()[0])
        verdict = floors.at_most(value.median, floors.OVERHEAD, "ms") if value else ""
        lines.append(f"| {name} | {spread([one.processor for one in samples])} | {value or ''} | {verdict} |")
    return lines


def _json(found: Measured[Work]) -> dict[str, object]:
    return {
        "added_ms_per_token": {name: value.median for name, value in added(found).items()},
        "floor": floors.OVERHEAD,
        "rounds": {name: [one.processor for one in samples] for name, samples in found.samples.items()},
    }


def _plot(found: Measured[Work]) -> str:
    return plot.closed([found])
