"""Which checkpoints of encoders are taken, and which are refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from safetensors.numpy import load_file, save_file
    from transformers import BertConfig

    from tests.unit.export import encoder_architectures as encoders
    from tests.unit.export.encoder_architectures import CLASSIFIER
    from trine.artifact import Precision, Task
    from trine.errors import NotACheckpoint, UnsupportedArchitecture
    from trine.export import checkpoint, manifest
    from trine.export.plan import inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def test_weights_without_a_pooler_are_enough_for_embeddings_and_for_nothing_else(tmp_path: Path) -> None:
    folder = encoders.build("BertModel", tmp_path)
    _drop(folder, "pooler.")
    model = checkpoint.load(folder, inspect(folder, None)).model
    assert model.pooler is None
    _drop(folder, "encoder.layer.1.output.dense.bias")
    with pytest.raises(NotACheckpoint, match="lack 1 of the tensors"):
        checkpoint.load(folder, inspect(folder, None))


def test_a_classifier_without_its_pooler_is_refused(tmp_path: Path) -> None:
    folder = encoders.build(CLASSIFIER, tmp_path)
    _drop(folder, "bert.pooler.")
    with pytest.raises(NotACheckpoint, match="lack 2 of the tensors"):
        checkpoint.load(folder, inspect(folder, None))


def _drop(folder: Path, prefix: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [("is_decoder", True, "decoder"), ("position_embedding_type", "relative_key", "relative position")],
)
def test_encoders_that_are_something_else_are_refused(
    tmp_path: Path, setting: str, value: object, reason: str
) -> None:
    folder = encoders.build("BertModel", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    encoders.write(folder / "config.json", config | {setting: value})
    with pytest.raises(UnsupportedArchitecture, match=reason):
        checkpoint.load(folder, inspect(folder, None))


def test_a_single_label_stands_alone_for_texts_and_is_refused_for_tokens() -> None:
    config = BertConfig(num_labels=1)
    assert manifest._labels(config, Task.CLASSIFICATION) == ("LABEL_0",)
    assert manifest._is_multi_label(config, ("LABEL_0",))
    with pytest.raises(UnsupportedArchitecture, match="single label"):
        manifest._labels(config, Task.TOKEN_CLASSIFICATION)


def test_a_model_that_lacks_the_type_of_a_second_text_takes_no_pairs(tmp_path: Path) -> None:
    folder = encoders.build(CLASSIFIER, tmp_path, type_vocab_size=1)
    loaded = checkpoint.load(folder, inspect(folder, None))
    assert not manifest.describe(loaded, Precision.FP32).pairs
