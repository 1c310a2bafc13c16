"""All floors in tables, from the results of the parts as they lie in the results' folder. Pure but for `tell`, `write` and `publish`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import floors
from bench.options import RESULTS, ROOT, Common
from bench.summary import Spread, table

PAGE = ROOT / "docs" / "promises.md"
BEGIN, END = "<!-- Written by python -m {}. -->", "<!-- Written by hand again. -->"
Told = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""Name of a part's results to what they say."""

_PAIRS = (
    *(("int8", "CTranslate2 int8"), ("fp32", "CTranslate2 fp32"), ("fp32", floors.PYTORCH)),
    *(("int8", floors.PYTORCH), ("fp32", floors.OPTIMUM)),
)


def tell(options: Common, parts: Told, program: str, name: str = "promises") -> None:
    """What a bench ends with: the tables written, printed, and published where they are those of a whole run."""
    text = write(options, parts, name)
    if options.results == RESULTS and not options.tiny:
        publish(text, program)
    print(text)


def write(options: Common, parts: Told, name: str = "promises") -> str:
    """NAME.md in the results' folder; a part that never ran there is missing from it. Returns the text."""
    ending = "-tiny" if options.tiny else ""
    texts: list[str] = []
    for part, told in parts.items():
        path = options.results / f"{part}{ending}.json"
        if path.exists():
            data = json.loads(path.read_text(encoding="utf-8"))
            others = data["load"]["others"]
            measured = (
                f"Measured {data['machine']['date']}; all else on the machine took {others:.0%} of its time."
            )
            texts.append(f"{told(data)}\n\n{measured}\n")
    text = "\n".join(texts)
    (options.results / f"{name}{ending}.md").write_text(text, encoding="utf-8")
    return text


def publish(text: str, program: str, page: Path = PAGE) -> None:
    """Put the tables of `program` between the page's marks. Raises ValueError where it has none."""
    whole, mark = page.read_text(encoding="utf-8"), BEGIN.format(program)
    begin = whole.index(mark) + len(mark)
    end = whole.index(END, begin)
    page.write_text(f"{whole[:begin]}\n\n{text}\n{whole[end:]}", encoding="utf-8")


def closed(data: Mapping[str, Any]) -> str:
    """Multiples of the server, served over gRPC."""
    cells = {}
    works = [f"{work['shape']}, {work['name']}" for work in data["works"]]
    for name, work in zip(works, data["works"], strict=True):
        for entry in work["multiples"]:
            level, precision = entry["ours"].split()
            if level == "served":
                cells[name, column(precision, entry["peer"])] = multiple(entry)
    columns = [column(*pair) for pair in _PAIRS]
    return table(works, columns, cells, "tokens of a processor-second, in multiples of the peer's")


def column(precision: str, peer: str) -> str:
    return f"ours {precision} : {peer}"


def multiple(entry: Mapping[str, Any]) -> str:
    """A spread, and whether its floor is reached where it has one."""
    value = Spread(entry["median"], entry["lower"], entry["upper"])
    floor = entry["floor"]
    return str(value) if floor is None else f"{value}; floor {floors.at_least(value.median, floor)}"


def overhead(data: Mapping[str, Any]) -> str:
    lines = [
        "| what the server adds to a token at batch 8 | milliseconds of processor time |",
        "| --- | --- |",
    ]
    for name, value in data["added_ms_per_token"].items():
        lines.append(f"| {name} | {floors.at_most(value, data['floor'], 'ms')} |")
    return "\n".join(lines)


def arrivals(data: Mapping[str, Any]) -> str:
    lines = ["| Poisson arrivals, time to first token | p50, s | p95, s | ours to the library's at p95 |"]
    lines.append("| --- | --- | --- | --- |")
    for one in data["comparisons"]:
        verdict = floors.at_most(one["p95_multiple"], one["floor"])
        for name, side in one["sides"].items():
            lines.append(f"| {one['shape']}, {name} | {side['p50']:.2f} | {side['p95']:.2f} | {verdict} |")
            verdict = ""
    return "\n".join(lines)


def interference(data: Mapping[str, Any]) -> str:
    gap = floors.at_most(data["gap_p99_multiple"], data["gap_floor"])
    prompt = floors.at_most(data["prompt_multiple"], data["prompt_floor"])
    return (
        "| a 256-token prompt every 2 s beside 8 streams | in multiples |\n| --- | --- |\n"
        f"| inter-token p99 to undisturbed | {gap} |\n| the prompt's first token to its time alone | {prompt} |"
    )


PARTS: Told = {
    "generation": closed,
    "overhead": overhead,
    "arrivals": arrivals,
    "interference": interference,
}
