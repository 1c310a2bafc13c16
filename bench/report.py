"""The tables and the JSON of one run of bench.generation. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import floors
from bench.machine import Load
from bench.rounds import Measured
from bench.shapes import SHAPES
from bench.summary import Sample, spread, table, to_json


def markdown(
    machine: Mapping[str, str],
    load: Load,
    facts: Mapping[str, Mapping[str, str]],
    measured: Sequence[Measured],
    left_out: Sequence[str],
) -> str:
    rounds = len(next(iter(measured[0].samples.values()))) if measured else 0
    lines = ["# Generation against its peers", "", _intro(rounds), ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines.append(
        f"- {load.seconds / 60:.1f} minutes, of whose processor time the bench took {load.bench:.0%} and "
        f"everything else on the machine {load.others:.0%}"
    )
    lines += ["", "| candidate | what it is |", "| --- | --- |"]
    lines += [f"| {name} | {_listed(fact)} |" for name, fact in facts.items()]
    for shape in dict.fromkeys(one.work.shape for one in measured):
        lines += _shape([one for one in measured if one.work.shape == shape], shape)
    if left_out:
        lines += ["", f"Not measured, because the time was used up: {'; '.join(left_out)}."]
    return "\n".join(lines) + "\n"


def _intro(rounds: int) -> str:
    return (
        f"Medians of {rounds} interleaved rounds, first and third quartile in brackets. `runtime` is engine/runtime driven by a "
        "tight loop in a process of its own; `served` is server and engine over gRPC, the client left out; the peers are "
        "libraries in processes of their own. Random weights: the parity gate did not run (overridden)."
    )


def _listed(fact: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fact.items())


def _shape(measured: Sequence[Measured], shape: str) -> list[str]:
    candidates = list(measured[0].samples)
    works = [str(one.work) for one in measured]
    lines = ["", f"## {shape}"]
    for title, field in (
        ("Processor milliseconds per generated token", "processor"),
        ("Wall milliseconds per generated token", "wall"),
    ):
        cells = {
            (str(one.work), name): str(spread([getattr(sample, field) for sample in samples]))
            for one in measured
            for name, samples in one.samples.items()
        }
        lines += ["", f"### {title}", "", table(works, candidates, cells, "work")]
    lines += [
        "",
        "### Tokens of a processor-second, in multiples of the peer's",
        "",
        _ratios(measured, shape),
    ]
    lines += [
        "",
        "### What the server adds, in processor milliseconds per generated token",
        "",
        _overhead(measured),
    ]
    lines += ["", "### Prompts on which the same tokens were written as by PyTorch", "", _agreement(measured)]
    return lines


def _ratios(measured: Sequence[Measured], shape: str) -> str:
    lines = ["| work | ours | peer | multiple | floor |", "| --- | --- | --- | --- | --- |"]
    for one in measured:
        for ours, peer, value, floor in floors.ratios(one, SHAPES[shape].architecture):
            verdict = (
                "" if floor is None else f"{floor:g}: {'reached' if value.median >= floor else '**missed**'}"
            )
            lines.append(f"| {one.work} | {ours} | {peer} | {value} | {verdict} |")
    return "\n".join(lines)


def overhead(served: Sequence[Sample], runtime: Sequence[Sample]) -> list[float]:
    """Round by round. Negative where noise is larger than what the server adds."""
    return [a.processor - b.processor for a, b in zip(served, runtime, strict=True)]


def _overhead(measured: Sequence[Measured]) -> str:
    cells = {}
    for one in measured:
        for precision in ("int8", "fp32"):
            pair = [one.samples.get(f"{level} {precision}") for level in ("served", "runtime")]
            if pair[0] and pair[1]:
                cells[str(one.work), precision] = str(spread(overhead(pair[0], pair[1])))
    return table([str(one.work) for one in measured], ["int8", "fp32"], cells, "work")


def _agreement(measured: Sequence[Measured]) -> str:
    cells = {
        (str(one.work), name): f"{share:.0%}"
        for one in measured
        for name, share in one.agreement(floors.PYTORCH).items()
    }
    names = list(dict.fromkeys(name for _, name in cells))
    return table([str(one.work) for one in measured], names, cells, "work")


def as_json(
    machine: Mapping[str, str],
    load: Load,
    facts: Mapping[str, Mapping[str, str]],
    measured: Sequence[Measured],
) -> dict[str, Any]:
    return {
        "machine": dict(machine),
        "load": load.to_json(),
        "candidates": {name: dict(fact) for name, fact in facts.items()},
        "works": [
            {
                **asdict(one.work),
                "candidates": {name: to_json(samples) for name, samples in one.samples.items()},
                "repeats": one.repeats,
                "multiples": [
                    {"ours": ours, "peer": peer, **asdict(value), "floor": floor}
                    for ours, peer, value, floor in floors.ratios(one, SHAPES[one.work.shape].architecture)
                ],
                "same_tokens_as_pytorch": one.agreement(floors.PYTORCH),
            }
            for one in measured
        ],
    }


def write(folder: Path, name: str, text: str, data: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
