"""The tables and the JSON of batches that encoders read, at library level and over gRPC. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain

from bench import floors
from bench import report as pages
from bench.encoder.work import EncoderWork
from bench.floors import Ratio
from bench.rounds import Measured
from bench.summary import ratio, spread, table, to_json

Found = Measured[EncoderWork]
Cells = dict[tuple[str, str], str]
REFERENCES = ("PyTorch fp32", "runtime fp32")
"""Whose logits are the right ones: of the first that is measured."""
OURS = ("runtime", "served", "streamed")


def ratios(found: Found) -> list[Ratio]:
    told = []
    for ours, samples in found.samples.items():
        wanted = floors.ENCODERS.get((found.work.kind, ours), {})
        for peer, others in found.samples.items():
            if _compared(ours, peer):
                told.append((ours, peer, ratio(samples, others), wanted.get(peer)))
    return told


def _compared(ours: str, peer: str) -> bool:
    """Our runner with what is not ours, our server with the runner of its precision."""
    level, precision = ours.split(maxsplit=1)
    if level == "runtime":
        return peer.split(maxsplit=1)[0] not in OURS
    return level in OURS and peer == f"runtime {precision}"


def difference(found: Found) -> dict[str, float]:
    """Of each candidate's logits from the reference's, in the first round: the largest, in shares of the largest logit."""
    reference = next((name for name in REFERENCES if name in found.written), None)
    if reference is None:
        return {}
    expected = list(chain.from_iterable(found.written[reference]))
    largest = max(map(abs, expected))
    return {
        name: max(abs(a - b) for a, b in zip(chain.from_iterable(rows), expected, strict=True)) / largest
        for name, rows in found.written.items()
        if name != reference
    }


def page(
    intro: str,
    measured: Sequence[Found],
    facts: Mapping[str, Mapping[str, str]],
    left_out: Sequence[str],
) -> list[str]:
    count = sorted({len(samples) for one in measured for samples in one.samples.values()})
    said = (
        f"Medians of {' or '.join(map(str, count))} interleaved rounds, first and third quartile in brackets. {intro} Random weights: "
        "the parity gate did not run (overridden)."
    )
    return pages.body(said, facts, measured, _shape, left_out)


def _shape(measured: Sequence[Found], shape: str) -> list[str]:
    works = [str(one.work) for one in measured]
    names = list(dict.fromkeys(name for one in measured for name in one.samples))
    lines = ["", f"## {shape}"]
    for title, cells in _figures(measured).items():
        if cells:
            lines += ["", f"### {title}", "", table(names, works, cells, "candidate")]
    lines += ["", "### Sequences of a processor-second, in multiples of the peer's", ""]
    return [*lines, pages.multiples(measured, ratios)]


def _figures(measured: Sequence[Found]) -> dict[str, Cells]:
    """Title to the cells of a table, by candidate and work."""
    speed: Cells = {}
    processor: Cells = {}
    wall: Cells = {}
    apart: Cells = {}
    for one in measured:
        for name, samples in one.samples.items():
            cell = name, str(one.work)
            speed[cell] = str(spread([1e3 / sample.processor for sample in samples]))
            processor[cell] = str(spread([sample.processor for sample in samples]))
            wall[cell] = str(spread([sample.wall for sample in samples]))
        apart |= {(name, str(one.work)): f"{value:.1g}" for name, value in difference(one).items()}
    return {
        "Sequences of a processor-second": speed,
        "Processor milliseconds per sequence": processor,
        "Wall milliseconds per sequence": wall,
        f"Largest difference from the logits of {' or else '.join(REFERENCES)}, in shares of the largest": apart,
    }


def as_json(
    measured: Sequence[Found], facts: Mapping[str, Mapping[str, str]], left_out: Sequence[str]
) -> dict[str, object]:
    return {
        "candidates": facts,
        "left_out": left_out,
        "works": [
            {
                **asdict(one.work),
                "name": str(one.work),
                "candidates": {name: to_json(samples) for name, samples in one.samples.items()},
                "repeats": one.repeats,
                "difference": difference(one),
                "multiples": pages.multiples_as_json(ratios(one)),
            }
            for one in measured
        ],
    }
