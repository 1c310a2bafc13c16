"""How many tokens a batch of the encoder family may have so that it lasts no longer than it should: measured, once, at load.

Engine process, its only thread, before the first request. A caller waits for at most the batch that runs and for its own, so this
time is what callers with long texts cost the others (docs/decisions/0005).
"""

from __future__ import annotations

from collections.abc import Callable

from trine.engine.scheduling.runner import Encoder

LEAST = 32
"""Tokens. Below, most of a run's time is not spent on tokens."""
_LENGTH = 128
"""Of the sequences that are measured, where the context has so many: between short texts and long ones."""
_TRIES = 2
"""The quicker one counts: the first run of a shape pays for its memory, and others work on this machine."""


def measured_budget(
    encoder: Encoder, token: int, context: int, most: int, seconds: float, clock: Callable[[], float]
) -> int:
    """Tokens, at most `most`, of a batch that runs in about `seconds`; `token` is any id of the vocabulary.

    Runs batches of doubled size until one takes longer: about 4 * `seconds` of work at worst.
    """
    tokens = min(LEAST, most)
    fits, lasted = tokens, 0.0
    while True:
        took = min(_seconds(encoder, token, context, tokens, clock) for _ in range(_TRIES))
        if took > seconds:
            # Between two sizes a token costs the same.
            return fits + int((tokens - fits) * (seconds - lasted) / (took - lasted))
        if tokens == most:
            return most
        fits, lasted = tokens, took
        tokens = min(2 * tokens, most)


def _seconds(encoder: Encoder, token: int, context: int, tokens: int, clock: Callable[[], float]) -> float:
    length = min(_LENGTH, context, tokens)
    whole, rest = divmod(tokens, length)
    sequences = [[token] * length for _ in range(whole)] + [[token] * rest] * (rest > 0)
    began = clock()
    encoder.run(sequences)
    return clock() - began
