"""The parity gate says no when something is wrong, and what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.unit.export.conftest import Exported
from trine import artifact
from trine.artifact import Artifact, Manifest
from trine.errors import NotACheckpoint
from trine.export import checkpoint, encoders, gate, probes, verify
from trine.export.gate import GateLimits, Report
from trine.export.plan import inspect
from trine.export.reference import Continuation
from trine.export.tokenizer import SOURCE, TARGET

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def prove_changed(
    exported: Exported,
    tmp_path: Path,
    change: Callable[[Path], None] = lambda _: None,
    described: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> dict[str, bool]:
    """Run the gate on a changed copy of the artifact: which checks passed."""
    folder = tmp_path / "artifact"
    shutil.copytree(exported.artifact.folder, folder)
    change(folder)
    sealed = artifact.seal(folder, described(exported.artifact.manifest))
    loaded = checkpoint.load(exported.folder, inspect(exported.folder, None))
    report = verify.prove(
        loaded, Artifact(folder, sealed), threads=1, told=lambda _: None, limits=GateLimits(new_tokens=6)
    )
    json.dumps(report.to_json(), allow_nan=False)
    passed = {check.name: check.passed for check in report.checks}
    assert report.passed == all(passed.values())
    assert report.passed or "failed" in report.reason
    return passed


def scaled(name: str, factor: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        weights = np.fromfile(folder / name, np.float32)
        (weights * np.float32(factor)).tofile(folder / name)

    return change


@pytest.mark.parametrize("family", ["bert", "gpt2", "marian"])
def test_the_unchanged_artifact_passes(family: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert all(prove_changed(request.getfixturevalue(family), tmp_path).values())


@pytest.mark.parametrize(
    ("family", "name"),
    [("bert", "model"), ("gpt2", "model"), ("marian", "encoder"), ("marian", "decoder")],
)
def test_weights_that_are_off_by_a_thousandth_fail(
    family: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    change = scaled(f"{name}.onnx.data", 1.001)
    passed = prove_changed(request.getfixturevalue(family), tmp_path, change)
    assert not passed["logits"]
    assert passed["token_ids"]
    assert passed["batch_logits"]


def test_weights_that_are_noise_fail_everything_about_answers(gpt2: Exported, tmp_path: Path) -> None:
    def reverse(folder: Path) -> None:
        weights = np.fromfile(folder / "model.onnx.data", np.float32)
        weights[::-1].tofile(folder / "model.onnx.data")

    passed = prove_changed(gpt2, tmp_path, reverse)
    assert {name for name, ok in passed.items() if not ok} >= {"logits", "greedy", "self_test"}


def test_nan_fails(bert: Exported, tmp_path: Path) -> None:
    passed = prove_changed(bert, tmp_path, scaled("model.onnx.data", float("nan")))
    assert not passed["logits"]
    assert not passed["self_test"]


def test_another_tokenizer_fails(gpt2: Exported, tmp_path: Path) -> None:
    def swap(folder: Path) -> None:
        text = json.loads((folder / SOURCE).read_text())
        text["pre_tokenizer"]["add_prefix_space"] = True
        (folder / SOURCE).write_text(json.dumps(text))

    assert not prove_changed(gpt2, tmp_path, swap)["token_ids"]


def test_another_detokenizer_fails(marian: Exported, tmp_path: Path) -> None:
    def swap(folder: Path) -> None:
        text = json.loads((folder / TARGET).read_text())
        text["decoder"]["replacement"] = "e"
        (folder / TARGET).write_text(json.dumps(text))

    passed = prove_changed(marian, tmp_path, swap)
    assert not passed["texts"]
    assert passed["greedy"]


def test_a_wrong_way_to_generate_fails(marian: Exported, tmp_path: Path) -> None:
    """The reference searches as the manifest says, so a wrong start token shows in the self-test."""

    def other_start(manifest: Manifest) -> Manifest:
        assert manifest.generation is not None
        changed = msgspec.structs.replace(manifest.generation, start_id=5)
        return msgspec.structs.replace(manifest, generation=changed)

    assert not prove_changed(marian, tmp_path, described=other_start)["self_test"]


def test_a_checkpoint_whose_weights_changed_fails(bert: Exported, tmp_path: Path) -> None:
    changed = tmp_path / "checkpoint"
    shutil.copytree(bert.folder, changed)
    tensors = load_file(changed / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(0.5)
    save_file(tensors, changed / "model.safetensors", metadata={"format": "pt"})
    passed = prove_changed(Exported(changed, bert.artifact, bert.report, bert.told), tmp_path)
    assert not passed["logits"]


# --- measures -----------------------------------------------------------------------------------------------------------------


def test_drift_is_relative_to_each_row() -> None:
    reference = np.array([[1.0, -2.0], [100.0, 50.0]], np.float32)
    assert gate.drift(reference, reference) == 0.0
    assert gate.drift(reference + np.array([[0, 0.5], [0, 0]], np.float32), reference) == pytest.approx(0.25)
    assert gate.drift(reference + np.array([[0, 0], [10, 0]], np.float32), reference) == pytest.approx(0.1)
    assert gate.drift(reference * np.float32("nan"), reference) == float("inf")
    assert gate.drift(reference[:1], reference) == float("inf")


def test_labels_of_a_multi_label_classifier_each_count() -> None:
    logits = np.array([0.5, -1.0, 2.0], np.float32)
    assert encoders._labels(logits, multi_label=True).tolist() == [True, False, True]
    assert encoders._labels(logits, multi_label=False).tolist() == [False, False, True]


def test_a_report_says_what_failed() -> None:
    report = Report(GateLimits())
    assert not report.passed  # nothing was compared
    report.at_most("logits", [1e-6, 3e-6], 1e-4)
    report.share("labels", [True, True, False], 1.0)
    report.few("ties", 1, 64, 1)
    assert not report.passed
    assert report.reason == "the parity gate failed: labels 0.667 (at least 1, 3 compared)"
    assert [check.count for check in report.parity.checks] == [2, 3, 64]


def test_a_measurement_that_is_no_number_fails_wherever_it_stands() -> None:
    report = Report(GateLimits())
    report.at_most("scores", [1e-6, float("nan"), 1e-6], 1e-4)
    assert not report.passed
    assert np.isfinite(report.parity.checks[0].value)


def test_nothing_compared_is_nothing_proved() -> None:
    report = Report(GateLimits())
    report.at_most("logits", [], 1e-4)
    assert not report.passed
    json.loads(json.dumps(report.to_json(), allow_nan=False))
    report = Report(GateLimits())
    report.share("labels", [], 1.0)
    assert not report.passed


def test_a_tie_is_where_the_references_best_logits_are_equal() -> None:
    logits = np.array([[9.0, 1.0, 2.0], [5.0, 5.00001, 9.0], [1.0, 2.0, 3.0]], np.float32)
    answer = Continuation([0, 2, 2], logits)
    assert not verify._parts_at_tie([0, 1, 2], answer, 1e-5, [])
    assert verify._parts_at_tie([0, 1, 2], answer, 1e-5, [2])  # token 2 is never chosen: 0 and 1 tie
    assert not verify._parts_at_tie([1, 1, 1], answer, 1e-5, [])
    assert not verify._parts_at_tie([0, 2], answer, 1e-5, [])  # ends early without a different token


# --- probes -----------------------------------------------------------------------------------------------------------------


def test_the_probes_reach_up_to_the_context() -> None:
    texts = probes.texts(Path("/nowhere"), lambda text: len(text.split()), 512)
    assert len(texts) == len(set(texts)) == 64
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[-1] > 512
    assert sum(lengths[-2] < 512 and length > 128 for length in lengths) >= 3


def test_the_checkpoint_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "probes.jsonl").write_text('{"text": "one\u2028two"}\n\n{"text": "three", "label": 1}\n')
    assert probes.texts(tmp_path, len, 100)[64:] == ["one\u2028two", "three"]


@pytest.mark.parametrize("line", ["text", "{", '{"text": 1}', '{"texts": "a"}', '{"text": ""}', "[]"])
def test_a_bad_line_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "probes.jsonl").write_text('{"text": "fine"}\n' + line)
    with pytest.raises(NotACheckpoint, match="line 2"):
        probes.texts(tmp_path, len, 100)
