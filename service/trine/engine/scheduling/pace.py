"""How long a batch lasts on this machine, and so how large one may be: a curve measured at load, corrected by every batch since. Pure.

Two questions are asked of it, and it errs to the harmless side in both. Whether a batch lasts too long is answered with care, by the
third quartile of what recent large batches took. Whether something can be answered in time at all is answered with hope, by about the best
of recent batches: who is given up would have been late. Engine process, its only thread.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

Point = tuple[int, float]
"""Tokens of a batch, and the seconds that it lasted."""

LEAST = 32
"""Tokens. Below, most of a run's time is not spent on tokens."""
_REMEMBERED = 32
"""Batches: a few seconds of a busy engine, so that a neighbor who comes or goes is soon noticed."""
_FORGET = 1.01
"""By how much the best may have been luck, for each batch since: in 70 batches it has doubled."""
_DOUBT = 0.95
"""What one refusal takes off the best. A curve measured on a busy machine would keep itself alive otherwise: who is refused because of
it never runs, and never tells that it is wrong."""
_FURTHEST = 1000.0
"""How far from the curve a correction may lead, up or down: on two cores with a load of 24 a sweep was 125 times too slow."""


class Curve:
    """Straight lines through measured points; the first and the last line go on."""

    def __init__(self, points: Sequence[Point]) -> None:
        """`points` by tokens, at least one; a single one stands for a line through 0."""
        known = [(0, 0.0), *points] if len(points) == 1 else list(points)
        self._tokens = [tokens for tokens, _ in known]
        # What disturbs a measurement makes it longer: no batch lasts longer than a larger one did.
        self._seconds = list(accumulate((seconds for _, seconds in reversed(known)), min))[::-1]

    def seconds(self, tokens: float) -> float:
        return max(0.0, _between(self._tokens, self._seconds, tokens))

    def at_least(self, tokens: float) -> float:
        """`seconds`, but beyond the last point no more than that point's tokens cost each: the last line is the one trusted least."""
        furthest, lasted = self._tokens[-1], self._seconds[-1]
        each = math.inf if tokens <= furthest else lasted / furthest * tokens
        return min(self.seconds(tokens), each)

    def tokens(self, seconds: float) -> float:
        return _between(self._seconds, self._tokens, seconds)


def _between(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    end = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    width = xs[end] - xs[end - 1]
    if not width:  # two points alike, at either end
        return math.inf if x > xs[end] else ys[end - 1]
    return ys[end] + (x - xs[end]) * (ys[end] - ys[end - 1]) / width


class Pace:
    """`budget` is the tokens of a batch that lasts about `longest` seconds: LEAST to `most`. Without points it is `most`, and every batch
    is taken to last no time."""

    def __init__(self, most: int, longest: float = math.inf, points: Sequence[Point] = ()) -> None:
        self._most = most
        self._longest = longest
        self._curve = Curve(points) if points else None
        self._smallest = points[0][0] if points else math.inf
        self._recent = deque([1.0] * (_REMEMBERED // 4), _REMEMBERED)
        self._careful = 1.0
        self._best = 1.0
        self.budget = self._fitting()

    def likely(self, tokens: int) -> float:
        """Seconds within which three of four batches of so many tokens end."""
        return self._careful * self._curve.seconds(tokens) if self._curve else 0.0

    def at_least(self, tokens: int) -> float:
        """Seconds below which a batch of so many tokens does not end, as far as is known."""
        return self._best * self._curve.at_least(tokens) if self._curve else 0.0

    def saw(self, tokens: int, seconds: float) -> None:
        """A batch has run. Small ones say little of large ones, and less than the smallest measured one nothing."""
        if self._curve is None or tokens < self._smallest:
            return
        ratio = _bounded(seconds / max(self._curve.seconds(tokens), 1e-9))
        self._best = _bounded(min(ratio, self._best * _FORGET))
        if 4 * tokens >= self.budget:
            self._recent.append(ratio)
            self._careful = sorted(self._recent)[3 * len(self._recent) // 4]
            self.budget = self._fitting()

    def doubt(self) -> None:
        """Something was given up because of what is known here, so it stays unknown how long it would have taken."""
        self._best = _bounded(self._best * _DOUBT)

    def _fitting(self) -> int:
        if self._curve is None:
            return self._most
        tokens = self._curve.tokens(self._longest / self._careful)
        return int(min(max(tokens, LEAST), self._most))


def _bounded(ratio: float) -> float:
    return min(max(ratio, 1 / _FURTHEST), _FURTHEST)
