"""The encoders' half of the two gates: float32 against the checkpoint, int8 against float32."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import msgspec

    from tests.unit.export import encoder_architectures as encoders
    from tests.unit.export.conftest import Encoders, Exported
    from tests.unit.export.encoder_architectures import CLASSIFIER, EMBEDDER, LABELER
    from trine import artifact
    from trine.artifact import Artifact, Manifest, Precision
    from trine.export import checkpoint, gate, quantize, recipe, verify
    from trine.export.encoders import _same_label
    from trine.export.plan import ExportPlan, Gate, inspect
    from trine.export.tokenizer import SOURCE

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def prove_changed(
    found: Exported, folder: Path, described: Callable[[Manifest], Manifest], factor: float = 1.0
) -> set[str]:
    """Run the gate on a changed copy of the artifact: which checks failed."""
    shutil.copytree(found.artifact.folder, folder)
    data = folder / "model.onnx.data"
    (np.fromfile(data, np.float32) * np.float32(factor)).tofile(data)
    sealed = artifact.seal(folder, described(found.artifact.manifest))
    loaded = checkpoint.load(found.folder, inspect(found.folder, None))
    report = verify.prove(loaded, Artifact(folder, sealed), threads=1, told=lambda _: None)
    json.dumps(report.to_json(), allow_nan=False)
    return {check.name for check in report.checks if not check.passed}


def test_other_types_for_a_second_text_fail(encoder: Encoders, tmp_path: Path) -> None:
    found = encoder(CLASSIFIER)
    folder = tmp_path / "artifact"
    shutil.copytree(found.artifact.folder, folder)
    text = json.loads((folder / SOURCE).read_text())
    for piece in text["post_processor"]["pair"]:
        for part in piece.values():
            part["type_id"] = 0
    (folder / SOURCE).write_text(json.dumps(text))
    changed = Exported(found.folder, Artifact(folder, found.artifact.manifest), found.report, found.told)
    assert prove_changed(changed, tmp_path / "a", lambda found: found) == {"pair_token_ids"}


def test_positions_that_begin_elsewhere_fail(encoder: Encoders, tmp_path: Path) -> None:
    failed = prove_changed(
        encoder(LABELER), tmp_path / "a", lambda found: msgspec.structs.replace(found, position_offset=0)
    )
    assert failed >= {"logits", "labels", "self_test"}


def test_hidden_states_that_are_off_by_a_thousandth_fail(encoder: Encoders, tmp_path: Path) -> None:
    failed = prove_changed(encoder(EMBEDDER), tmp_path / "a", lambda found: found, factor=1.001)
    assert failed >= {"hidden", "embeddings"}


def test_hidden_states_that_are_no_numbers_fail(encoder: Encoders, tmp_path: Path) -> None:
    failed = prove_changed(encoder(EMBEDDER), tmp_path / "a", lambda found: found, factor=float("nan"))
    assert failed >= {"hidden", "batch_hidden", "embeddings", "cosine", "self_test"}


def test_another_pooling_than_the_engines_fails(
    encoder: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trine.export.encoders.pool", lambda hidden, _: hidden.sum(axis=0, dtype=np.float64))
    assert prove_changed(encoder(EMBEDDER), tmp_path / "a", lambda found: found) == {"embeddings"}


def test_a_token_has_the_same_label_where_another_is_as_good() -> None:
    theirs = np.array([[1.0, 2.0], [1.0, 1.000001], [-5.0, 3.0]], np.float32)
    ours = np.array([[1.0, 2.1], [1.1, 1.0], [4.0, 3.0]], np.float32)
    assert _same_label(ours, theirs, 1e-5).tolist() == [True, True, False]
    assert _same_label(ours, theirs, 0.0).tolist() == [True, False, False]


def test_a_mean_with_what_is_no_number_fails() -> None:
    report = gate.Report(gate.INT8)
    report.mean_at_most("int8_scores", [0.0, 0.01, 0.005], 0.006)
    assert report.passed
    report.mean_at_most("int8_scores", [0.0, float("nan")], 0.006)
    report.mean_at_most("int8_scores", [], 0.006)
    assert [check.passed for check in report.checks] == [True, False, False]
    json.dumps(report.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "names"),
    [(LABELER, {"int8_labels", "int8_scores"}), (EMBEDDER, {"int8_cosine", "int8_embeddings"})],
)
def test_int8_is_compared_by_what_the_task_answers(tmp_path: Path, name: str, names: set[str]) -> None:
    staging = tmp_path / "staging"
    staging.mkdir()
    folder = encoders.build(name, tmp_path / "checkpoint")
    report = recipe.export(
        ExportPlan(folder, staging, precision=Precision.INT8, gate=Gate.REPORT),
        inspect(folder, None, Precision.INT8, Gate.REPORT),
        threads=1,
        told=lambda *_: None,
    )
    found = artifact.open_artifact(staging).manifest
    assert (found.precision, found.weight_form) == (Precision.INT8, quantize.weight_form())
    checks = {check.name: check for check in report.checks}
    assert {each for each in checks if each.startswith("int8")} == names | {
        "int8_batch_logits",
        "int8_self_test",
    }
    assert checks["int8_batch_logits"].value == 0
    assert checks["int8_self_test"].passed
    if name == LABELER:
        assert checks["int8_labels"].count == checks["int8_scores"].count > 300
    else:
        assert checks["int8_cosine"].passed
        assert 0 < checks["int8_embeddings"].value < 0.1
