"""The self-test passes on what was published, and notices one weight that differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import Weights
from trine import artifact
from trine.artifact import Artifact, Family
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.selftest import drift
from trine.engine.runtime.seq2seq import Seq2SeqRunner

Runner = EncoderRunner | DecoderRunner | Seq2SeqRunner
FAMILIES: dict[Family, tuple[Callable[[Artifact], Runner], str]] = {
    Family.ENCODER: (lambda opened: EncoderRunner(opened, 1), "encoder.1.v"),
    Family.DECODER: (lambda opened: DecoderRunner(opened, 1, 2, max_chunk=3), "self.1.v"),
    Family.ENCODER_DECODER: (lambda opened: Seq2SeqRunner(opened, 1, 2), "cross.0.k"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_artifact_passes(artifact_of: Callable[..., Artifact], family: Family) -> None:
    opened = artifact_of(family)
    assert 0 < drift(opened, FAMILIES[family][0](opened)) < opened.manifest.self_test.tolerance


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [3.0, np.nan])
def test_one_other_weight_is_noticed(tmp_path: Path, family: Family, value: float) -> None:
    build, name = FAMILIES[family]
    stored = tiny_artifacts.write(tmp_path / "right", family, Weights()).manifest.self_test
    harmed = Weights()
    harmed.arrays[name][2, 3] += value
    opened = tiny_artifacts.write(tmp_path / "harmed", family, harmed, self_test=stored)
    assert drift(opened, build(opened)) > 10 * stored.tolerance


def test_a_stored_answer_is_compared_row_by_row(tmp_path: Path, weights: Weights) -> None:
    """A large row does not hide the error of a small one."""
    right = tiny_artifacts.write(tmp_path, Family.ENCODER, weights).manifest
    outputs = [list(row) for row in right.self_test.outputs]
    outputs[1] = [value * 1.01 for value in outputs[1]]
    self_test = artifact.SelfTest(right.self_test.inputs, outputs, 1e-5)
    artifact.seal(tmp_path, msgspec.structs.replace(right, self_test=self_test))
    opened = artifact.open_artifact(tmp_path)
    assert drift(opened, EncoderRunner(opened, 1)) == pytest.approx(0.01 / 1.01, rel=1e-3)
