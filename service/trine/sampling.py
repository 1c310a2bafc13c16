"""How the next token of one generation is chosen. Frozen parameters, any process."""

from __future__ import annotations

import math

import msgspec

from trine.errors import InvalidInput

MAX_TEMPERATURE = 10.0


class Sampling(msgspec.Struct, array_like=True, frozen=True):
    """One request's sampling parameters; the defaults mean greedy search."""

    temperature: float = 0.0
    """0 means greedy."""
    top_p: float = 1.0
    """Keep the smallest set of best tokens whose probabilities sum to at least this; (0, 1]."""
    top_k: int = 0
    """Keep this many best tokens; 0 keeps all."""
    seed: int = 0
    """64-bit seed. Input i of a batch draws as if it were alone with seed + i (modulo 2**64)."""

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    def validate(self, field: str = "sampling") -> None:
        """Raise InvalidInput that names the field. NaN fails every comparison, hence the positive form."""
        if not (math.isfinite(self.temperature) and 0 <= self.temperature <= MAX_TEMPERATURE):
            raise InvalidInput(
                f"temperature must be between 0 and {MAX_TEMPERATURE:g}", field=f"{field}.temperature"
            )
        if not 0 < self.top_p <= 1:
            raise InvalidInput("top_p must be above 0 and at most 1", field=f"{field}.top_p")
        if self.top_k < 0:
            raise InvalidInput("top_k must not be negative", field=f"{field}.top_k")
