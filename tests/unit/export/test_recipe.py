"""A whole export of each family: the artifact, its manifest, the gate's verdict."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path

import onnx
import onnxruntime
import pytest
from safetensors.torch import load_file, save_file

from tests.unit.export import tiny
from tests.unit.export.conftest import Exported
from trine.artifact import REPORT, CacheLayout, Family, Generation, Limits, Precision, open_artifact
from trine.errors import NotACheckpoint, UnsupportedArchitecture
from trine.export import checkpoint, launcher, manifest
from trine.export.plan import ExportPlan, inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(params=["bert", "gpt2", "marian"])
def exported(request: pytest.FixtureRequest) -> Exported:
    found: Exported = request.getfixturevalue(request.param)
    return found


def test_the_gate_passes_and_says_why(exported: Exported) -> None:
    assert exported.report.passed, exported.report.reason
    assert exported.artifact.manifest.parity == exported.report.parity
    checks = {check.name: check for check in exported.report.checks}
    assert checks["token_ids"].count == 64
    assert checks["logits"].value < 1e-5
    assert "logits" in exported.report.reason


def test_the_report_is_in_the_artifact(exported: Exported) -> None:
    report = json.loads(exported.artifact.path(REPORT).read_text())
    assert report["passed"] is True
    assert len(report["checks"]) == len(exported.report.checks)
    assert report["gate_limits"]["logits"] == 1e-4
    assert "quick brown fox" not in json.dumps(report)


def test_progress_goes_through_the_stages_in_order(exported: Exported) -> None:
    stages = list(dict.fromkeys(stage for stage, _ in exported.told))
    assert stages == ["read", "export", "optimize", "verify"]
    for stage in stages:
        fractions = [fraction for told, fraction in exported.told if told == stage]
        assert fractions == sorted(fractions)
        assert all(0 <= fraction <= 1 for fraction in fractions)


def test_weights_are_beside_the_graphs_and_nothing_of_the_machine_is_in_them(exported: Exported) -> None:
    graphs = [name for name in exported.artifact.manifest.files if name.endswith(".onnx")]
    for name in graphs:
        assert f"{name}.data" in exported.artifact.manifest.files
        content = exported.artifact.path(name).read_bytes()
        assert b"/" + b"work" not in content
        assert b"site-packages" not in content
    assert len(graphs) == (2 if exported.artifact.manifest.family is Family.ENCODER_DECODER else 1)


def test_attention_is_one_operator_and_norms_are_not_taken_apart(exported: Exported) -> None:
    for name in exported.artifact.manifest.files:
        if name.endswith(".onnx"):
            model = onnx.load(str(exported.artifact.path(name)), load_external_data=False)
            operators = [node.op_type for node in model.graph.node]
            assert {"GroupQueryAttention", "LayerNormalization"} <= set(operators)
            assert not {"Softmax", "ReduceMean", "Where", "Erf"} & set(operators)


FUSED = {
    "bert": {"SkipLayerNormalization", "BiasGelu"},
    "gpt2": {"SkipLayerNormalization", "FastGelu"},
    "marian": {"SkipLayerNormalization", "QuickGelu"},
}


@pytest.mark.parametrize("family", FUSED)
def test_what_is_served_has_fused_norms_and_activations(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """ONNX Runtime fuses while it loads: the graphs are written so that it can."""
    exported: Exported = request.getfixturevalue(family)
    for name in exported.artifact.manifest.files:
        if name.endswith(".onnx"):
            options = onnxruntime.SessionOptions()
            options.optimized_model_filepath = str(tmp_path / name)
            options.log_severity_level = 4
            onnxruntime.InferenceSession(
                str(exported.artifact.path(name)), options, providers=["CPUExecutionProvider"]
            )
            served = onnx.load(str(tmp_path / name), load_external_data=False)
            operators = {node.op_type for node in served.graph.node}
            assert operators >= FUSED[family]
            assert not {"Pow", "Tanh", "Sigmoid", "Erf"} & operators


def test_the_manifest_of_a_classifier(bert: Exported) -> None:
    found = bert.artifact.manifest
    assert found.labels == ("bad", "so so", "good")
    assert found.limits == Limits(max_input_tokens=40)  # the tokenizer's, less than the model's 48 positions
    assert (found.cache, found.cross, found.generation) == (None, None, None)
    assert not found.multi_label
    assert [len(row) for row in found.self_test.outputs] == [3, 3, 3]


def test_the_manifest_of_a_generator(gpt2: Exported) -> None:
    found = gpt2.artifact.manifest
    assert found.limits.max_input_tokens == 96
    assert found.cache == CacheLayout(layers=2, kv_heads=4, head_dim=8)
    assert found.generation == Generation(eos_ids=(0,))
    assert [len(row) for row in found.self_test.outputs] == [64, 64, 64]


def test_the_manifest_of_a_translator(marian: Exported) -> None:
    found = marian.artifact.manifest
    pad = found.vocab_size - 1
    assert found.limits == Limits(max_input_tokens=24, max_output_tokens=24)
    assert found.cross == found.cache == CacheLayout(layers=2, kv_heads=4, head_dim=8)
    assert found.generation == Generation(eos_ids=(0,), start_id=pad, forced_last_id=0, suppressed_ids=(pad,))
    assert found.unk_id == 1
    assert {"tokenizer.json", "target_tokenizer.json"} <= set(found.files)


async def test_the_same_through_a_real_process(tmp_path: Path) -> None:
    """Limits on memory, the clean environment and the pipe included; the artifact is as the parent will publish it."""
    folder, staging = tiny.bert(tmp_path / "bert"), tmp_path / "staging"
    staging.mkdir()
    digest = inspect(folder, None).digest
    async with aclosing(launcher.run(ExportPlan(folder, staging, digest=digest, threads=1))) as steps:
        told = [step async for step in steps]
    assert told[-1].verdict is not None
    assert told[-1].verdict.passed, told[-1].verdict.reason
    assert [step.stage for step in told if step.fraction == 1.0][:3] == ["read", "export", "optimize"]
    published = open_artifact(staging)
    assert published.manifest.parity.passed


# --- what is refused once weights and tokenizer are loaded -------------------------------------------------------------------


def load(folder: Path) -> checkpoint.Checkpoint:
    return checkpoint.load(folder, inspect(folder, None))


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "bert")
    for content in (b"", b"no safetensors", (folder / "model.safetensors").read_bytes()[:-100]):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(NotACheckpoint) as refusal:
            load(folder)
        assert str(tmp_path) not in refusal.value.message


def test_missing_tensors_are_refused_instead_of_drawn_at_random(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "bert")
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotACheckpoint, match="lack 1 of the tensors"):
        load(folder)


def test_a_config_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    with pytest.raises(NotACheckpoint):
        load(folder)


def test_a_model_type_that_is_not_the_architectures_is_refused(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    with pytest.raises(NotACheckpoint):
        load(folder)


def test_a_tokenizer_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    folder = tiny.gpt2(tmp_path / "gpt2")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "none"}}')
    with pytest.raises(NotACheckpoint):
        load(folder)


def test_head_sizes_that_the_operator_lacks_are_refused(tmp_path: Path) -> None:
    loaded = load(tiny.gpt2(tmp_path / "gpt2", n_embd=48))
    with pytest.raises(UnsupportedArchitecture, match="multiple of 8"):
        checkpoint.cache_layout(loaded.config, Family.DECODER)


def test_regression_is_refused(tmp_path: Path) -> None:
    loaded = load(tiny.bert(tmp_path / "bert", problem_type="regression"))
    with pytest.raises(UnsupportedArchitecture, match="regression"):
        manifest.describe(loaded, Precision.FP32)


def test_settings_that_requests_cannot_have_are_named(tmp_path: Path) -> None:
    loaded = load(tiny.gpt2(tmp_path / "gpt2"))
    assert manifest.ignored_settings(loaded) == []
    loaded.model.generation_config.repetition_penalty = 1.3
    loaded.model.generation_config.bad_words_ids = [[1], [2, 3]]
    assert manifest.ignored_settings(loaded) == ["repetition_penalty", "bad_words_ids"]
    assert manifest.describe(loaded, Precision.FP32).generation == Generation(
        eos_ids=(0,), suppressed_ids=(1,)
    )


def test_no_end_token_is_suppressed_though_the_bad_words_name_it(tmp_path: Path) -> None:
    loaded = load(tiny.gpt2(tmp_path / "gpt2"))
    loaded.model.generation_config.eos_token_id = [0, 3]
    loaded.model.generation_config.bad_words_ids = [[1], [3]]
    assert manifest.describe(loaded, Precision.FP32).generation == Generation(
        eos_ids=(0, 3), suppressed_ids=(1,)
    )


def test_a_checkpoint_that_answers_no_numbers_is_refused(tmp_path: Path) -> None:
    loaded = load(tiny.gpt2(tmp_path / "gpt2"))
    loaded.model.transformer.ln_f.bias.data.fill_(float("nan"))
    with pytest.raises(NotACheckpoint, match="finite"):
        manifest.describe(loaded, Precision.FP32)
