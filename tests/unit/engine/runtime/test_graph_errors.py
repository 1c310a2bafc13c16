"""What a broken artifact says: ArtifactCorrupt, in our words, without a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import Weights
from trine import artifact
from trine.artifact import Family
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.encoder import EncoderRunner
from trine.errors import ArtifactCorrupt


def rubbish(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"rubbish" * 100)


def truncated(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[: len(content) // 2])


def short_weights(folder: Path) -> None:
    (folder / "model.onnx.data").write_bytes(b"")


def empty(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"")


@pytest.mark.parametrize("harm", [rubbish, truncated, short_weights, empty])
def test_a_corrupt_graph(tmp_path: Path, weights: Weights, harm: Callable[[Path], None]) -> None:
    tiny_artifacts.write(tmp_path, Family.DECODER, weights)
    manifest = artifact.open_artifact(tmp_path).manifest
    harm(tmp_path)
    artifact.seal(tmp_path, manifest)
    with pytest.raises(ArtifactCorrupt, match=r"^the graph model\.onnx cannot be loaded$") as raised:
        DecoderRunner(artifact.open_artifact(tmp_path), 1, 2)
    assert str(tmp_path) not in raised.value.message


def test_a_missing_graph(tmp_path: Path, weights: Weights) -> None:
    tiny_artifacts.write(tmp_path, Family.ENCODER, weights)
    manifest = artifact.open_artifact(tmp_path).manifest
    (tmp_path / "model.onnx").unlink()
    artifact.seal(tmp_path, manifest)
    with pytest.raises(ArtifactCorrupt, match=r"^the artifact has no file model\.onnx$"):
        EncoderRunner(artifact.open_artifact(tmp_path), 1)


def test_a_graph_of_another_family(tmp_path: Path, weights: Weights) -> None:
    opened = tiny_artifacts.write(tmp_path, Family.DECODER, weights)
    with pytest.raises(ArtifactCorrupt, match="other inputs or outputs"):
        EncoderRunner(opened, 1)


def test_a_graph_without_logits(tmp_path: Path, weights: Weights) -> None:
    tiny_artifacts.write(tmp_path, Family.ENCODER, weights)
    manifest = artifact.open_artifact(tmp_path).manifest
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "T"])
    out = helper.make_tensor_value_info("something", TensorProto.INT64, [1, "T"])
    graph = helper.make_graph([helper.make_node("Identity", ["input_ids"], ["something"])], "g", [ids], [out])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        tmp_path / "model.onnx",
    )
    artifact.seal(tmp_path, manifest)
    with pytest.raises(ArtifactCorrupt, match="other inputs or outputs"):
        EncoderRunner(artifact.open_artifact(tmp_path), 1)
