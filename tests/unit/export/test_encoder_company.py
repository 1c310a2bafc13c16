"""The same text alone and in 50 random batches, for every encoder with each of its heads: the same bits.

`make test` does so for one of each trait; `make proof` for all.
"""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.unit.export import encoder_architectures as encoders
    from tests.unit.export.conftest import Encoders
    from tests.unit.export.encoder_architectures import CLASSIFIER, EMBEDDER, LABELER
    from trine.artifact import Task
    from trine.engine.runtime.encoder import EncoderRunner

TRAITS = (CLASSIFIER, LABELER, EMBEDDER, "DebertaV2ForSequenceClassification")
OTHERS = tuple(name for name in encoders.ARCHITECTURES if name not in TRAITS)
BATCHES = 50
LENGTHS = (1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64)
"""On each side of the sizes that kernels compute in, up to the whole context."""


@pytest.mark.parametrize("name", [*TRAITS, *(pytest.param(name, marks=pytest.mark.proof) for name in OTHERS)])
def test_a_text_alone_is_the_same_bits_in_any_batch(encoder: Encoders, name: str) -> None:
    found = encoder(name).artifact
    runner, draw = EncoderRunner(found, threads=2), random.Random(name)
    pairs = found.manifest.pairs and "token_type_ids" in runner._graph.inputs
    texts = [[draw.randrange(5, 90) for _ in range(length)] for length in LENGTHS]
    types = [[int(place > length // 2) for place in range(length)] if pairs else None for length in LENGTHS]
    alone = [runner.run([ids], [own])[0] for ids, own in zip(texts, types, strict=True)]
    assert len({answer.tobytes() for answer in alone}) == len(alone)  # nothing is equal for want of an answer
    if found.manifest.task is not Task.CLASSIFICATION:
        assert [len(answer) for answer in alone] == list(LENGTHS)
    for _ in range(BATCHES):
        batch = draw.choices(range(len(texts)), k=draw.randint(2, 24))
        together = runner.run([texts[place] for place in batch], [types[place] for place in batch])
        for place, answer in zip(batch, together, strict=True):
            np.testing.assert_array_equal(answer, alone[place])
