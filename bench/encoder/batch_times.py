"""How long an engine's batches last, as the server's page of metrics tells, read again and again. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SERIES = re.compile(r"^trine_compute_duration_seconds_(count|sum)\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """Runs of the graph that the engine has told of."""

    count: int
    seconds: float
    """Of all together."""


def read(page: str) -> Ran:
    """From the page of a server that has loaded one checkpoint."""
    found = dict(_SERIES.findall(page))
    return Ran(int(float(found.get("count", 0))), float(found.get("sum", 0)))


def durations(readings: Sequence[Ran]) -> list[float]:
    """Seconds of each run between the first reading and the last; of runs between the same two readings, their mean.

    The longest of these is therefore no longer than the longest run.
    """
    found = []
    for before, after in pairwise(readings):
        if count := after.count - before.count:
            found += [(after.seconds - before.seconds) / count] * count
    return found
