"""The tables and the JSON of the closed batches, and how every part's results are written. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from bench import floors
from bench.floors import Ratio
from bench.machine import Load, Watch, describe
from bench.options import Common
from bench.rounds import Asks, Measured
from bench.shapes import SHAPES, Work
from bench.summary import overhead, spread, table, to_json

W = TypeVar("W", bound=Asks)


def headed(title: str, described: Mapping[str, str], load: Load, lines: Sequence[str]) -> str:
    """A part's page: what it is, on which machine, then `lines`."""
    head = [f"# {title}", ""]
    head += [f"- {name}: {value}" for name, value in described.items()]
    head.append(
        f"- {load.seconds / 60:.1f} minutes, of whose processor time the bench took {load.bench:.0%} and "
        f"everything else on the machine {load.others:.0%}"
    )
    return "\n".join([*head, "", *lines]) + "\n"


def markdown(
    described: Mapping[str, str],
    load: Load,
    facts: Mapping[str, Mapping[str, str]],
    measured: Sequence[Measured[Work]],
    left_out: Sequence[str],
) -> str:
    lines = body(_intro(measured), facts, measured, _shape, left_out)
    return headed("Generation against its peers", described, load, lines)


def body(
    intro: str,
    facts: Mapping[str, Mapping[str, str]],
    measured: Sequence[Measured[W]],
    told: Callable[[Sequence[Measured[W]], str], list[str]],
    left_out: Sequence[str],
) -> list[str]:
    """The candidates, then what is `told` of each shape."""
    lines = [intro, "", "| candidate | what it is |", "| --- | --- |"]
    lines += [f"| {name} | {_listed(fact)} |" for name, fact in facts.items()]
    for shape in dict.fromkeys(one.work.shape for one in measured):
        lines += told([one for one in measured if one.work.shape == shape], shape)
    if left_out:
        lines += ["", f"Not measured: {'; '.join(left_out)}."]
    return lines


def _intro(measured: Sequence[Measured[Work]]) -> str:
    rounds = sorted({len(next(iter(one.samples.values()))) for one in measured})
    return (
        f"Medians of {' or '.join(map(str, rounds))} interleaved rounds (long prompts have the fewer), first and third quartile in brackets. `runtime` is engine/runtime driven by a "
        "tight loop in a process of its own; `served` is server and engine over gRPC, the client left out; the peers are "
        "libraries in processes of their own. Random weights: the parity gate did not run (overridden)."
    )


def _listed(fact: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fact.items())


def _shape(measured: Sequence[Measured[Work]], shape: str) -> list[str]:
    candidates = list(dict.fromkeys(name for one in measured for name in one.samples))
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
        multiples(measured, _ratios),
    ]
    lines += [
        "",
        "### What the server adds, in processor milliseconds per generated token",
        "",
        _overhead(measured),
    ]
    lines += ["", "### Prompts on which the same tokens were written as by PyTorch", "", _agreement(measured)]
    return lines


def _ratios(one: Measured[Work]) -> list[Ratio]:
    return floors.ratios(one, SHAPES[one.work.shape].architecture)


def multiples(measured: Sequence[Measured[W]], ratios: Callable[[Measured[W]], list[Ratio]]) -> str:
    lines = ["| work | ours | peer | multiple | floor |", "| --- | --- | --- | --- | --- |"]
    for one in measured:
        for ours, peer, value, floor in ratios(one):
            verdict = "" if floor is None else floors.at_least(value.median, floor)
            lines.append(f"| {one.work} | {ours} | {peer} | {value} | {verdict} |")
    return "\n".join(lines)


def _overhead(measured: Sequence[Measured[Work]]) -> str:
    cells = {}
    for one in measured:
        for precision in ("int8", "fp32"):
            pair = [one.samples.get(f"{level} {precision}") for level in ("served", "runtime")]
            if pair[0] and pair[1]:
                cells[str(one.work), precision] = str(spread(overhead(pair[0], pair[1])))
    return table([str(one.work) for one in measured], ["int8", "fp32"], cells, "work")


def _agreement(measured: Sequence[Measured[Work]]) -> str:
    cells = {
        (str(one.work), name): f"{share:.0%}"
        for one in measured
        for name, share in one.agreement(floors.PYTORCH).items()
    }
    names = list(dict.fromkeys(name for _, name in cells))
    return table([str(one.work) for one in measured], names, cells, "work")


def multiples_as_json(ratios: Sequence[Ratio]) -> list[dict[str, Any]]:
    return [
        {"ours": ours, "peer": peer, **asdict(value), "floor": floor} for ours, peer, value, floor in ratios
    ]


def as_json(
    described: Mapping[str, str],
    load: Load,
    facts: Mapping[str, Mapping[str, str]],
    measured: Sequence[Measured[Work]],
    left_out: Sequence[str],
) -> dict[str, Any]:
    return {
        "machine": dict(described),
        "load": load.to_json(),
        "candidates": {name: dict(fact) for name, fact in facts.items()},
        "left_out": list(left_out),
        "works": [
            {
                **asdict(one.work),
                "name": str(one.work),
                "candidates": {name: to_json(samples) for name, samples in one.samples.items()},
                "repeats": one.repeats,
                "multiples": multiples_as_json(_ratios(one)),
                "same_tokens_as_pytorch": one.agreement(floors.PYTORCH),
            }
            for one in measured
        ],
    }


def with_machine(watch: Watch, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"machine": describe(), "load": watch.load().to_json(), **data}


def write(options: Common, name: str, text: str, data: Mapping[str, Any], drawing: str) -> None:
    """NAME.md, NAME.json and NAME.svg in the results' folder; those of a tiny run are named so."""
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / (f"{name}-tiny" if options.tiny else name)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".svg").write_text(drawing, encoding="utf-8")
