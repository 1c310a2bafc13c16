"""Hidden states of a text's tokens become one vector. Pure numpy, one text at a time: the answer cannot depend on its company."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Pooling

_LEAST_LENGTH = 1e-12
"""As torch.nn.functional.normalize has it: a vector of zeros stays one."""


def pool(hidden: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float64]:
    """float64 [width] of hidden states [tokens, width], special tokens included, as sentence-transformers pools."""
    match pooling:
        case Pooling.MEAN:
            return np.asarray(hidden.mean(axis=0, dtype=np.float64))
        case Pooling.MAX:
            return np.asarray(hidden.max(axis=0), np.float64)
        case Pooling.CLS:
            return np.asarray(hidden[0], np.float64)
        case Pooling.LAST:
            return np.asarray(hidden[-1], np.float64)


def normalized(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector with length 1."""
    return vector / max(float(np.linalg.norm(vector)), _LEAST_LENGTH)
