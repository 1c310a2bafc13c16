"""Requests that arrive at random moments (a Poisson process), the same for whoever is measured. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

READ, WRITTEN = (16, 256), (8, 64)
"""Least and most tokens of a prompt and of an answer; drawn evenly."""


@dataclass(frozen=True, slots=True)
class Request:
    at: float
    """Seconds after the trace began."""
    prompt: list[int]
    new_tokens: int


@dataclass(frozen=True, slots=True)
class Size:
    read: int
    written: int


def sizes(seed: str, count: int) -> list[Size]:
    draw = random.Random(f"sizes {seed}")
    return [Size(draw.randint(*READ), draw.randint(*WRITTEN)) for _ in range(count)]


def moments(seed: str, rate: float, seconds: float) -> list[float]:
    """Arrivals within `seconds`, `rate` of them a second on average: the gaps are exponential."""
    return list(_moments(random.Random(f"moments {seed}"), rate, seconds))


def _moments(draw: random.Random, rate: float, seconds: float) -> Iterator[float]:
    at = draw.expovariate(rate)
    while at < seconds:
        yield at
        at += draw.expovariate(rate)


def due(requests: Sequence[Request], begun: int, now: float, most: int) -> list[Request]:
    """Of those after the first `begun`, all that have arrived by `now`, the oldest first, at most `most`. `requests` are in order."""
    return [request for request in requests[begun : begun + most] if request.at <= now]
