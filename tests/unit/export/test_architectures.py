"""Every architecture of the table: exported by the one hook, and proved through the gate on a tiny checkpoint of its kind.

`make test` exports one of each trait; `make proof` all of them. The gate runs prompts in chunks beside single tokens, alone and in
company, against PyTorch's logits and greedy tokens.
"""

from __future__ import annotations

import inspect as signatures
import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from transformers import AutoConfig, LlamaConfig
    from transformers.models.llama import modeling_llama

    from tests.unit.export import architectures
    from tests.unit.export.architectures import BOS, CONTEXT, EOS, FRENCH, PAD, WINDOW
    from tests.unit.export.conftest import Exported, export
    from trine.artifact import CacheLayout, Family, Generation, Limits
    from trine.errors import UnsupportedArchitecture
    from trine.export import checkpoint, probes, rotary
    from trine.export.plan import inspect
    from trine.registry.architectures import ARCHITECTURES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

TRAITS = ("qwen3", "gpt-neox", "gemma2", "t5-gated", "bart")
"""Rotary with grouped heads; partly rotary; soft-caps and a sliding window; bias by distance; learned positions of both sides."""
OTHERS = tuple(name for name in architectures.CONFIGS if name not in TRAITS)

FEW = probes.PLAIN[3:15]
"""With the six that grow to the whole context and beyond; all 64 texts are proved in test_recipe."""

Exporter = Callable[[str], Exported]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """Exports an architecture when it is first asked for."""
    known: dict[str, Exported] = {}

    def find(name: str) -> Exported:
        if name not in known:
            root = tmp_path_factory.mktemp(name)
            known[name] = export(lambda folder: architectures.build(name, folder), root)
        return known[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "PLAIN", FEW)
        yield find


def test_the_matrix_has_every_generating_architecture() -> None:
    generating = {name for name, row in ARCHITECTURES.items() if row.family is not Family.ENCODER}
    assert {architecture for architecture, _ in architectures.CONFIGS.values()} == generating


def test_the_documentation_lists_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "architectures.md"
    listed = re.findall(r"^\| (\S+) \| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [(row.family, name) for name, row in ARCHITECTURES.items()]


@pytest.mark.parametrize("name", [*TRAITS, *(pytest.param(name, marks=pytest.mark.proof) for name in OTHERS)])
def test_an_artifact_answers_as_its_checkpoint(exported: Exporter, name: str) -> None:
    report = exported(name).report
    assert report.passed, report.reason
    checks = {check.name: check for check in report.checks}
    assert checks["logits"].count == len(FEW) + len(probes.GROWING)
    # T5 does not scale its scores, so that with weights like these a rounding error grows
    assert checks["logits"].value < (1e-4 if name.startswith("t5") else 5e-6)
    assert checks["greedy"].value == 1.0
    assert checks["ties"].value == 0


# --- what each trait leaves in the graph -------------------------------------------------------------------------------------


def _graph(found: Exported, file: str) -> onnx.GraphProto:
    return onnx.load(str(found.artifact.path(file)), load_external_data=False).graph


def _attentions(graph: onnx.GraphProto) -> list[tuple[list[str], dict[str, Any]]]:
    """(input names, attributes) of each attention operator; inputs that are left out are empty names."""
    nodes = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
    return [
        (list(node.input), {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute})
        for node in nodes
    ]


def _inputs(graph: onnx.GraphProto) -> set[str]:
    return {value.name for value in graph.input}


def test_full_rotary_is_turned_inside_the_operator(exported: Exporter) -> None:
    graph = _graph(exported("qwen3"), "model.onnx")
    for inputs, attributes in _attentions(graph):
        assert attributes["do_rotary"] == 1
        assert (attributes["num_heads"], attributes["kv_num_heads"]) == (4, 2)
        assert all(inputs[7:9])  # cosines and sines
    tables = [list(tensor.dims) for tensor in graph.initializer if list(tensor.dims) == [CONTEXT, 16]]
    assert len(tables) == 2
    assert "position_ids" not in _inputs(graph)
    assert not {"Cos", "Sin", "Neg"} & {node.op_type for node in graph.node}


def test_partial_rotary_stays_outside_and_takes_positions(exported: Exporter) -> None:
    graph = _graph(exported("gpt-neox"), "model.onnx")
    assert "position_ids" in _inputs(graph)
    assert all("do_rotary" not in attributes for _, attributes in _attentions(graph))


def test_soft_caps_and_the_window_of_some_layers(exported: Exporter) -> None:
    graph = _graph(exported("gemma2"), "model.onnx")
    attributes = [found for _, found in _attentions(graph)]
    assert [found.get("local_window_size") for found in attributes] == [WINDOW, None]
    assert [found["softcap"] for found in attributes] == [5.0, 5.0]
    assert [node.op_type for node in graph.node][-4:] == ["Gemm", "Div", "Tanh", "Mul"]  # the final cap


@pytest.mark.parametrize("name", ["qwen3", "gemma2"])
def test_rms_norm_is_one_operator(exported: Exporter, name: str) -> None:
    operators = [node.op_type for node in _graph(exported(name), "model.onnx").node]
    assert operators.count("SimplifiedLayerNormalization") == 9
    assert not {"Pow", "ReduceMean", "Sqrt", "Reciprocal"} & set(operators)


def test_bias_by_distance_enters_self_attention_only(exported: Exporter) -> None:
    found = exported("t5-gated")
    for file, expected in (("encoder.onnx", [True] * 2), ("decoder.onnx", [True, False] * 2)):
        graph = _graph(found, file)
        biased = [len(inputs) > 10 and bool(inputs[10]) for inputs, _ in _attentions(graph)]
        assert biased == expected
        assert "kv_pos" in _inputs(graph)
        assert "Log" not in {node.op_type for node in graph.node}  # buckets are a table


def test_an_engine_is_asked_only_for_what_its_graph_reads(exported: Exporter) -> None:
    for file in ("encoder.onnx", "decoder.onnx"):
        graph = _graph(exported("bart"), file)
        read = {name for node in graph.node for name in node.input}
        assert _inputs(graph) <= read
        assert "kv_pos" not in _inputs(graph)


# --- manifests ---------------------------------------------------------------------------------------------------------------


def test_grouped_heads_make_the_cache_small(exported: Exporter) -> None:
    manifest = exported("qwen3").artifact.manifest
    assert manifest.cache == CacheLayout(layers=2, kv_heads=2, head_dim=32)
    assert manifest.limits == Limits(max_input_tokens=CONTEXT, max_output_tokens=CONTEXT - 1)
    assert manifest.generation == Generation(eos_ids=(), suppressed_ids=(PAD,))


def test_t5_counts_its_positions_elsewhere(exported: Exporter) -> None:
    manifest = exported("t5-gated").artifact.manifest
    assert manifest.limits == Limits(max_input_tokens=CONTEXT, max_output_tokens=CONTEXT)
    assert manifest.cross == manifest.cache == CacheLayout(layers=2, kv_heads=4, head_dim=24)


def test_forced_tokens_come_from_the_generation_config(exported: Exporter) -> None:
    generation = exported("bart").artifact.manifest.generation
    assert generation is not None
    assert (generation.start_id, generation.forced_first_id, generation.forced_last_id) == (EOS, BOS, EOS)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["mbart", "m2m100"])
def test_the_target_language_is_the_forced_first_token(exported: Exporter, name: str) -> None:
    generation = exported(name).artifact.manifest.generation
    assert generation is not None
    assert generation.forced_first_id == FRENCH


# --- what is refused, and what is left as it was -----------------------------------------------------------------------------


def test_the_checkpoint_is_as_it_was_after_an_export(exported: Exporter, tmp_path: Path) -> None:
    before = modeling_llama.apply_rotary_pos_emb
    with rotary.left_to_the_operator(_llama(tmp_path).model):
        assert modeling_llama.apply_rotary_pos_emb is not before
    assert modeling_llama.apply_rotary_pos_emb is before
    assert "unsqueeze_dim" in signatures.signature(before).parameters


def _llama(folder: Path, **changes: Any) -> checkpoint.Checkpoint:
    architectures.build("llama", folder, **changes)
    return checkpoint.load(folder, inspect(folder, None))


def test_heads_that_the_operator_does_not_turn_come_turned(tmp_path: Path) -> None:
    model = _llama(tmp_path, head_dim=24).model
    assert rotary.tables(model, CONTEXT, 24) is None
    cos, sin = rotary.tables(_llama(tmp_path / "16").model, CONTEXT, 16) or (None, None)
    assert cos is not None
    assert sin is not None
    assert cos.shape == sin.shape == (CONTEXT, 8)
    torch.testing.assert_close(cos[1, 0], torch.tensor(1.0).cos())
    torch.testing.assert_close(sin[2, 0], torch.tensor(2.0).sin())


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_that_depends_on_the_length_is_refused(kind: str) -> None:
    config = LlamaConfig()
    config.rope_parameters = {"rope_type": kind, "rope_theta": 10000.0}
    with pytest.raises(UnsupportedArchitecture, match=kind):
        rotary.require_fixed_frequencies(config)


@pytest.mark.parametrize(("name", "family"), [("llama", Family.DECODER), ("t5", Family.ENCODER_DECODER)])
def test_head_sizes_that_the_operator_lacks_are_refused(tmp_path: Path, name: str, family: Family) -> None:
    size = {"d_kv": 12} if name == "t5" else {"head_dim": 12}
    config = AutoConfig.from_pretrained(architectures.build(name, tmp_path, **size))
    with pytest.raises(
        UnsupportedArchitecture, match="size 12 are not supported; it must be a multiple of 8"
    ):
        checkpoint.cache_layout(config, family)


def test_an_encoders_heads_may_be_others_than_its_decoders(tmp_path: Path) -> None:
    folder = architectures.build("m2m100", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder_attention_heads": 16}))
    with pytest.raises(UnsupportedArchitecture, match="size 4"):
        checkpoint.cache_layout(AutoConfig.from_pretrained(folder), Family.ENCODER_DECODER)


def test_no_longer_context_is_served_than_is_proved() -> None:
    assert checkpoint.context_length(LlamaConfig(max_position_embeddings=131_072)) == checkpoint.MAX_CONTEXT
    assert checkpoint.context_length(LlamaConfig(max_position_embeddings=1024)) == 1024
