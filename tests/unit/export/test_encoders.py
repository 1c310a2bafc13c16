"""Every encoder of the table with each of its heads: exported by the one hook, and proved through the gate on a tiny checkpoint.

`make test` exports one of each trait; `make proof` all of them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    from tests.unit.export import encoder_architectures as encoders
    from tests.unit.export.conftest import FEW, Encoders, Exported, export
    from tests.unit.export.encoder_architectures import CLASSIFIER, EMBEDDER, LABELER
    from trine.artifact import Family, Pooling, Task
    from trine.engine.runtime.encoder import EncoderRunner
    from trine.export import checkpoint, gate, probes
    from trine.export.plan import inspect
    from trine.export.reference import Reference, embedding
    from trine.registry.architectures import ARCHITECTURES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

TRAITS = (
    CLASSIFIER,
    LABELER,
    EMBEDDER,
    "AlbertForSequenceClassification",
    "DebertaV2ForSequenceClassification",
)
"""Token types and a pooler; positions that begin behind the padding id; other names of layers; layers with the same weights; attention
that compares contents with distances."""
OTHERS = tuple(name for name in encoders.ARCHITECTURES if name not in TRAITS)


def reference(found: Exported) -> Reference:
    return Reference(checkpoint.load(found.folder, inspect(found.folder, None)), None)


def test_the_matrix_has_every_encoder() -> None:
    table = {name for name, row in ARCHITECTURES.items() if row.family is Family.ENCODER}
    assert set(encoders.ARCHITECTURES) == table


@pytest.mark.parametrize("name", [*TRAITS, *(pytest.param(name, marks=pytest.mark.proof) for name in OTHERS)])
def test_an_artifact_answers_as_its_checkpoint(encoder: Encoders, name: str) -> None:
    report = encoder(name).report
    assert report.passed, report.reason
    checks = {check.name: check for check in report.checks}
    task = ARCHITECTURES[name].default_task
    output = "hidden" if task is Task.EMBEDDING else "logits"
    texts = len(FEW) + len(probes.GROWING)
    assert checks[output].count == texts + (len(probes.PAIRS) if task is Task.CLASSIFICATION else 0)
    assert checks[output].value < 1e-5
    assert checks[f"batch_{output}"].value == 0
    if task is Task.EMBEDDING:
        assert checks["cosine"].value > 0.999999
    else:
        assert checks["labels"].value == 1
    if task is Task.TOKEN_CLASSIFICATION:
        assert checks["labels"].count > 10 * texts  # each token counts
    assert ("pair_token_ids" in checks) == (task is Task.CLASSIFICATION)


# --- graphs ------------------------------------------------------------------------------------------------------------------


def _graph(found: Exported) -> onnx.GraphProto:
    return onnx.load(str(found.artifact.path("model.onnx")), load_external_data=False).graph


@pytest.mark.parametrize(
    ("name", "special", "output"),
    [
        (CLASSIFIER, {"token_type_ids", "first"}, "logits"),
        (LABELER, set(), "logits"),
        (EMBEDDER, set(), "hidden"),
    ],
)
def test_a_graph_asks_only_for_what_its_task_and_architecture_need(
    encoder: Encoders, name: str, special: set[str], output: str
) -> None:
    graph = _graph(encoder(name))
    always = {"input_ids", "position_ids", "pad", "unpad", "lens", "total"}
    assert {value.name for value in graph.input} == always | special
    assert [value.name for value in graph.output] == [output]
    attentions = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
    assert len(attentions) == 2
    for node in attentions:
        assert {each.name: each.i for each in node.attribute}["causal"] == 0


def test_layers_that_share_weights_share_them_in_the_graph(encoder: Encoders) -> None:
    graph = _graph(encoder("AlbertForSequenceClassification"))
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    squares = [tensor for tensor in graph.initializer if list(tensor.dims) == [64, 96]]
    assert len(products) > 4 * 4  # four layers
    assert len(squares) == 2  # of two groups
    packed = [tensor for tensor in graph.initializer if list(tensor.dims) == [64, 3 * 64]]
    assert len(packed) == 2


def test_an_embedders_graph_has_no_pooler(encoder: Encoders, tmp_path: Path) -> None:
    found = export(lambda folder: encoders.build("BertModel", folder), tmp_path)
    assert not any("pooler" in tensor.name for tensor in _graph(found).initializer)


# --- manifests ---------------------------------------------------------------------------------------------------------------


def test_what_the_manifest_of_a_classifier_says(encoder: Encoders) -> None:
    found = encoder(CLASSIFIER).artifact.manifest
    assert (found.task, found.labels, found.pairs) == (Task.CLASSIFICATION, encoders.LABELS, True)
    assert (found.pooling, found.embedding_size, found.position_offset) == (None, 0, 0)
    assert found.limits.max_input_tokens == encoders.CONTEXT


def test_what_the_manifest_of_a_labeler_says(encoder: Encoders) -> None:
    found = encoder(LABELER).artifact.manifest
    assert (found.task, found.labels, found.pairs) == (Task.TOKEN_CLASSIFICATION, encoders.LABELS, False)
    assert found.position_offset == 2
    assert found.limits.max_input_tokens == encoders.CONTEXT  # two of the 66 positions are before the first
    tokens = [len(ids) for ids in found.self_test.inputs]
    assert [len(row) for row in found.self_test.outputs] == [min(64, 5 * count) for count in tokens]


def test_what_the_manifest_of_a_plain_encoder_says(encoder: Encoders) -> None:
    found = encoder(EMBEDDER).artifact.manifest
    assert (found.task, found.labels) == (Task.EMBEDDING, ())
    assert (found.pooling, found.normalize, found.embedding_size) == (Pooling.MEAN, False, 64)


def test_an_embedder_is_as_its_folder_says(tmp_path: Path) -> None:
    def build(folder: Path) -> Path:
        encoders.build("BertModel", folder)
        return encoders.sentence_transformer(folder, "cls_token", normalize=True, max_tokens=24)

    found = export(build, tmp_path)
    assert found.report.passed, found.report.reason
    described = found.artifact.manifest
    assert (described.pooling, described.normalize) == (Pooling.CLS, True)
    assert described.limits.max_input_tokens == 24


# --- token types and positions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CLASSIFIER, "AlbertForSequenceClassification"])
def test_the_types_of_a_pair_are_the_checkpoints(encoder: Encoders, name: str) -> None:
    found = encoder(name)
    runner, original = EncoderRunner(found.artifact, threads=1), reference(found)
    ids, types = original.pair("We saw the house.", "Nobody did.")
    assert types is not None
    assert set(types) == {0, 1}
    expected, untyped = original.output(ids, types), original.output(ids)
    assert gate.drift(expected[None], untyped[None]) > 0.01
    single = original.token_ids(["We saw the house."])[0]
    together = runner.run([single, ids, ids], [None, types, None])
    for ours, theirs in zip(together, (original.output(single), expected, untyped), strict=True):
        assert gate.drift(ours[None], theirs[None]) < 1e-5


def test_padding_typed_out_takes_the_place_that_roberta_gives_it(encoder: Encoders) -> None:
    found = encoder(LABELER)
    runner, original = EncoderRunner(found.artifact, threads=1), reference(found)
    texts = ["a <pad> b", "the house", "<pad><pad>letter<pad>"]
    sequences = original.token_ids(texts)
    assert sum(ids.count(1) for ids in sequences) == 4
    for ids, ours in zip(sequences, runner.run(sequences), strict=True):
        assert gate.drift(ours, original.output(ids)) < 1e-5


@pytest.mark.parametrize("pooling", list(Pooling))
def test_poolings_of_the_reference(pooling: Pooling) -> None:
    hidden = np.array([[1.0, -2.0], [3.0, 0.0], [2.0, -7.0]], np.float32)
    expected = {"mean": [2.0, -3.0], "cls": [1.0, -2.0], "max": [3.0, 0.0], "last": [2.0, -7.0]}[pooling]
    np.testing.assert_allclose(embedding(hidden, pooling, normalize=False), expected)
    length = np.linalg.norm(expected)
    np.testing.assert_allclose(
        embedding(hidden, pooling, normalize=True), np.array(expected) / length, rtol=1e-6
    )
