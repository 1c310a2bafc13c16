"""The floors of encoders in tables, from the results of the parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench import floors, promises
from bench.summary import table

_PAIRS = (
    *(
        ("int8", "CTranslate2 int8"),
        ("int8", "OpenVINO fp32"),
        ("int8", "onnxruntime int8"),
        ("int8", "onnxruntime fused int8"),
    ),
    *(("fp32", "onnxruntime fused fp32"), ("fp32", "onnxruntime fp32"), ("fp32", "CTranslate2 fp32")),
    *(("fp32", "OpenVINO fp32"), ("fp32", "PyTorch fp32")),
)


def library(data: Mapping[str, Any]) -> str:
    """Multiples of our runner."""
    cells, works = {}, []
    for work in data["works"]:
        works.append(f"{work['shape']}, {work['name']}")
        for entry in work["multiples"]:
            cells[works[-1], promises.column(entry["ours"].split()[1], entry["peer"])] = promises.multiple(
                entry
            )
    columns = [promises.column(*pair) for pair in _PAIRS]
    return table(
        works, columns, cells, "library level: sequences of a processor-second, in multiples of the peer's"
    )


def wire(data: Mapping[str, Any]) -> str:
    """Multiples of the server."""
    cells, works = {}, []
    for work in data["works"]:
        works.append(f"{work['shape']}, {work['name']}")
        for entry in work["multiples"]:
            cells[works[-1], entry["ours"].split()[1]] = promises.multiple(entry)
    return table(works, ["fp32", "int8"], cells, "over gRPC: the same, in multiples of our bare runner's")


def caller(data: Mapping[str, Any]) -> str:
    lines = [
        "| a single caller beside one that sends 64 texts a call | p99 alone, ms | p99 beside, ms | longest batch, ms | gained, in batches |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in data["callers"]:
        times = (f"{1e3 * one[name]:.3g}" for name in ("alone_p99", "beside_p99", "longest_batch"))
        lines.append(
            f"| {one['shape']} | {' | '.join(times)} | {floors.at_most(one['growth'], one['floor'])} |"
        )
    return "\n".join(lines)


PARTS: promises.Told = {
    "encoders-library": library,
    "encoders-wire": wire,
    "encoders-caller": caller,
}
