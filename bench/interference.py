"""What a long prompt does to running streams, and they to it: GPT-2 in fp32, over gRPC. The bench's process.

Eight streams run; every 2 s a prompt of 256 tokens comes in. Inter-token times against those of the same streams undisturbed, and
that prompt's time to first token against its time on an idle server. The three kinds of phases take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import floors, machine, plot, report
from bench.lineup import Lineup
from bench.options import Options
from bench.preparation import prepare, tell, vocabulary
from bench.shapes import Vocabulary
from bench.streams import Heard, Listener, listen
from bench.summary import percentile, spread

STREAMS, STREAM_PROMPT = 8, 32
PROMPT, PROMPT_WRITES, EVERY = 256, 8, 2.0
"""Tokens of the long prompt, and of its answer; seconds from one to the next."""


@dataclass(slots=True)
class Found:
    """Seconds, of all phases of a kind together."""

    undisturbed: list[float] = field(default_factory=list)
    """From one token of a stream to its next."""
    disturbed: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    """To the long prompt's first token."""
    beside: list[float] = field(default_factory=list)

    @property
    def gap_multiple(self) -> float:
        """Inter-token p99, disturbed to undisturbed."""
        return percentile(self.disturbed, 0.99) / percentile(self.undisturbed, 0.99)

    @property
    def prompt_multiple(self) -> float:
        """The long prompt's median time to first token, beside streams to alone."""
        return spread(self.beside).median / spread(self.alone).median


def measure(options: Options) -> None:
    watch = machine.Watch()
    found = interfere(options)
    text = report.headed(
        "A long prompt beside running streams", machine.describe(), watch.load(), _lines(found)
    )
    report.write(options, "interference", text, report.with_machine(watch, _json(found)), _plot(found))


def interfere(options: Options) -> Found:
    shape = prepare(options.shape("gpt2"), options, peers=False)
    words = vocabulary(shape, options)
    rounds, tokens = (1, 200) if options.tiny else (3, 300)
    every = 0.02 if options.tiny else EVERY
    found, prompts = Found(), _prompts(words)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Lineup(shape, words, options).served("fp32"))
        server.generate(words.prompts([PROMPT], "warm"), 4)
        for number in range(rounds):
            phase = Phase(words.prompts([STREAM_PROMPT] * STREAMS, f"streams {number}"), tokens)
            found.alone += [one.first for one in listen(server, lambda one: alone(one, prompts))]
            quiet = listen(server, lambda one, phase=phase: phase.run(one, iter(()), every))  # type: ignore[misc]
            found.undisturbed += between(quiet)
            loud = listen(server, lambda one, phase=phase: phase.run(one, prompts, every))  # type: ignore[misc]
            found.disturbed += between(loud)
            found.beside += [one.first for one in phase.prompted]
            tell(f"{shape.name}, a long prompt beside streams: round {number + 1} of {rounds}")
    return found


def _prompts(words: Vocabulary) -> Iterator[Sequence[int]]:
    """No two alike, so that nothing of one is kept for another."""
    number = 0
    while True:
        yield words.prompts([PROMPT], f"long {number}")[0]
        number += 1


async def alone(listener: Listener, prompts: Iterator[Sequence[int]]) -> list[Heard]:
    """Five long prompts, one after another, on an idle server."""
    return [await listener.hear(next(prompts), PROMPT_WRITES) for _ in range(5)]


class Phase:
    """The same streams, once undisturbed and once with prompts between them."""

    def __init__(self, streams: Sequence[Sequence[int]], tokens: int) -> None:
        self._streams = streams
        self._tokens = tokens
        self.prompted: list[Heard] = []
        """The long prompts."""

    async def run(self, listener: Listener, prompts: Iterator[Sequence[int]], every: float) -> list[Heard]:
        """Long prompts come `every` seconds from when all streams run until the first one ends. Answers the streams."""
        running, left = asyncio.Event(), len(self._streams)

        def told(heard: Heard) -> None:
            nonlocal left
            if len(heard.deltas) == 1:
                left -= 1
                if not left:
                    running.set()

        streams = [asyncio.create_task(listener.hear(one, self._tokens, told)) for one in self._streams]
        async with asyncio.TaskGroup() as group:
            disturbing = group.create_task(self._disturb(group, listener, prompts, every, running))
            await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
            disturbing.cancel()
            await asyncio.gather(*streams)
        return [stream.result() for stream in streams]

    async def _disturb(
        self,
        group: asyncio.TaskGroup,
        listener: Listener,
        prompts: Iterator[Sequence[int]],
        every: float,
        running: asyncio.Event,
    ) -> None:
        await running.wait()
        for prompt in prompts:
            await asyncio.sleep(every)
            group.create_task(self._prompt(listener, prompt))

    async def _prompt(self, listener: Listener, prompt: Sequence[int]) -> None:
        self.prompted.append(await listener.hear(prompt, PROMPT_WRITES))


def between(streams: Sequence[Heard]) -> list[float]:
    """Seconds from token to token while all streams run: after the last one's first token, until the first one's last."""
    begin, end = max(one.deltas[0] for one in streams), min(one.deltas[-1] for one in streams)
    return [
        b - a
        for one in streams
        for a, b in zip(one.deltas, one.deltas[1:], strict=False)
        if begin <= a and b <= end
    ]


def _lines(found: Found) -> list[str]:
    rows = (
        ("from token to token, undisturbed", found.undisturbed),
        ("from token to token, a prompt every 2 s", found.disturbed),
        ("the prompt's first token, alone", found.alone),
        ("the prompt's first token, beside the streams", found.beside),
    )
    lines = [
        f"GPT-2 in fp32, {STREAMS} running streams ({STREAM_PROMPT} tokens in), every {EVERY:g} s one prompt of {PROMPT} tokens that "
        f"writes {PROMPT_WRITES}; served over gRPC. Milliseconds.",
        "",
        "| what | samples | p50 | p95 | p99 | most |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, values in rows:
        cells = (f"{1e3 * percentile(values, share):.0f}" for share in (0.5, 0.95, 0.99, 1))
        lines.append(f"| {name} | {len(values)} | {' | '.join(cells)} |")
    gap = floors.at_most(found.gap_multiple, floors.GAP)
    prompt = floors.at_most(found.prompt_multiple, floors.PROMPT)
    return [
        *lines,
        "",
        f"Inter-token p99, disturbed to undisturbed: {gap}. The prompt's first token, median: {prompt}.",
    ]


def _json(found: Found) -> dict[str, object]:
    return {
        "gap_p99_multiple": found.gap_multiple,
        "gap_floor": floors.GAP,
        "prompt_multiple": found.prompt_multiple,
        "prompt_floor": floors.PROMPT,
        "seconds": {
            "undisturbed": found.undisturbed,
            "disturbed": found.disturbed,
            "prompt_alone": found.alone,
            "prompt_beside": found.beside,
        },
    }


def _plot(found: Found) -> str:
    gaps = plot.disturbance(found.undisturbed, found.disturbed)
    firsts = {
        name: plot.scaled(spread(values), 1e3)
        for name, values in (("alone", found.alone), ("disturbed", found.beside))
    }
    panels = [plot.Panel("from token to token", gaps), plot.Panel("the prompt's first token", firsts)]
    return plot.bars("Milliseconds, a 256-token prompt beside 8 streams (less is better)", panels)
