"""From samples to figures: medians, quartiles, ratios, tables in Markdown. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one candidate."""

    processor: float
    """Milliseconds of processor time for each generated token, or each sequence that is read."""
    wall: float
    """Milliseconds from the call to its answer, divided likewise."""


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    lower: float
    """First quartile."""
    upper: float
    """Third quartile."""

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.lower:.3g}–{self.upper:.3g})"  # noqa: RUF001 - a range


def spread(values: Sequence[float]) -> Spread:
    """Quartiles by linear interpolation; raises StatisticsError without values."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, lower, upper)


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Spread:
    """How many times as many tokens, or sequences, we make of a processor-second: round by round, since a round's two share its noise."""
    return spread([b.processor / a.processor for a, b in zip(ours, theirs, strict=True)])


def overhead(served: Sequence[Sample], runtime: Sequence[Sample]) -> list[float]:
    """What the server adds, round by round. Negative where noise is larger."""
    return [a.processor - b.processor for a, b in zip(served, runtime, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` of all (above 0, at most 1) do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(
    rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], str], corner: str
) -> str:
    """Markdown; a cell that is missing is a dash."""
    lines = [[corner, *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(cells.get((row, column), "-") for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_json(samples: Sequence[Sample]) -> dict[str, Any]:
    """All samples, and their spreads."""
    return {
        "processor_ms_per_token": asdict(spread([sample.processor for sample in samples])),
        "wall_ms_per_token": asdict(spread([sample.wall for sample in samples])),
        "rounds": [asdict(sample) for sample in samples],
    }
