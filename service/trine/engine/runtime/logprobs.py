"""Log-probabilities of one place of a sequence. Engine process, step thread; computed only for sequences that ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Logprobs:
    """Natural logarithms of the distribution that logits float32 [vocab] stand for, computed in float64."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        """Keeps a copy. A row that is no distribution (NaN, infinity, all suppressed) makes every log-probability NaN."""
        self._logits = logits.astype(np.float64)
        best = self._logits.max()
        with np.errstate(invalid="ignore"):
            self._total = best + np.log(np.exp(self._logits - best).sum())

    def of(self, token: int) -> float:
        """At most 0; minus infinity for a token that is suppressed."""
        return float(self._logits[token] - self._total)

    def best(self, count: int) -> list[tuple[int, float]]:
        """The `count` most probable ids, best first, of equals the lowest; fewer where the rest is suppressed."""
        count = min(count, len(self._logits))
        if count == 0:
            return []
        place = len(self._logits) - count
        ids = np.flatnonzero(self._logits >= np.partition(self._logits, place)[place])
        ids = ids[np.argsort(-self._logits[ids], kind="stable")][:count]
        return [(token, self.of(token)) for token in ids.tolist() if np.isfinite(self._logits[token])]
