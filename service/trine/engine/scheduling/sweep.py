"""How long batches last on this machine, measured at load by a short sweep of the encoder.

Engine process, its only thread, before the first request. A caller waits for at most the batch that runs and for its own, so this
time is what callers with long texts cost the others (docs/decisions/0015).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from trine.engine.scheduling.pace import Point
from trine.engine.scheduling.runner import Encoder

_SMALLEST = 8
"""Tokens, of the first batch: a short text alone."""
_LENGTH = 128
"""Of the sequences that are measured, where the context has so many: between short texts and long ones."""
_TRIES = 2
"""The quickest one counts: the first run of a shape pays for its memory, and others work on this machine."""
_MORE_TRIES = 4
_DISTURBED = 2.5
"""Twice the tokens do not take so many times as long: something came between, and it is tried again."""


def sweep(
    encoder: Encoder, token: int, context: int, most: int, seconds: float, clock: Callable[[], float]
) -> list[Point]:
    """Batches of doubled size, up to `most` tokens or until one takes longer than `seconds`; `token` is any id of the vocabulary.

    4 to 8 * `seconds` of work on a quiet machine.
    """
    points: list[Point] = []
    tokens, before = min(_SMALLEST, most), math.inf
    while True:
        took = math.inf
        for tried in range(_TRIES + _MORE_TRIES):
            if tried >= _TRIES and took <= _DISTURBED * before:
                break
            took = min(took, _seconds(encoder, token, context, tokens, clock))
        points.append((tokens, took))
        if took > seconds or tokens == most:
            return points
        tokens, before = min(2 * tokens, most), took


def _seconds(encoder: Encoder, token: int, context: int, tokens: int, clock: Callable[[], float]) -> float:
    length = min(_LENGTH, context, tokens)
    whole, rest = divmod(tokens, length)
    sequences = [[token] * length for _ in range(whole)] + [[token] * rest] * (rest > 0)
    began = clock()
    encoder.run(sequences)
    return clock() - began
