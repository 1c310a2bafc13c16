"""A ragged batch as the padded arrays that most libraries take. Needs numpy only; any worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def padded(sequences: Sequence[Sequence[int]]) -> dict[str, NDArray[Any]]:
    """input_ids, attention_mask and token_type_ids, int64 [batch, longest]; padding is token 0, as BERT's."""
    shape = len(sequences), max(map(len, sequences))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
