"""A checkpoint that computes nothing: its one score is the number that its text begins with. Published as any other is.

What is left of a request is what the server itself costs: admission, frames, tokenizer, engine loop, answers. The graph takes what the
encoder family's graphs take, and a text of the bench is "417 12 9 ...", words of one token each, so that every answer can be checked.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trine import artifact
from trine.artifact import Family, Limits, Manifest, Parity, Precision, SelfTest, Task
from trine.registry.records import Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository

NAME = "identity"
LABELS = ("number", "negated")
WORDS = 1000
"""Numbers from 0 that are words of the vocabulary, each its own token id."""
CONTEXT = 512
_ARCHITECTURE = "Identity"


def publish(root: Path) -> None:
    """The version `identity:1`, unless it is there."""
    repository = Repository(root)
    if NAME in repository.names():
        return
    with repository.reserve(NAME) as reservation:
        staging = reservation.staging
        staging.mkdir()
        onnx.save(_graph(), staging / "model.onnx")
        (staging / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
        artifact.seal(staging, _manifest())
        reservation.publish(_record(reservation.number))
    repository.set_alias(NAME, LIVE, reservation.number)


def _graph() -> onnx.ModelProto:
    """input_ids [1, T] and first [B] to logits [B, 2]: each sequence's first token id, and the same below zero."""
    nodes = [
        helper.make_node("Squeeze", ["input_ids", "zero"], ["ids"]),
        helper.make_node("Gather", ["ids", "first"], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "one"], ["column"]),
        helper.make_node("Mul", ["column", "signs"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([1.0, -1.0], np.float32), "signs"),
    ]
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "T"]),
        helper.make_tensor_value_info("first", TensorProto.INT64, ["B"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", len(LABELS)])]
    graph = helper.make_graph(nodes, NAME, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _tokenizer() -> dict[str, object]:
    vocab = {str(number): number for number in range(WORDS)} | {"[UNK]": WORDS}
    return {
        "version": "1.0",
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"},
    }


def _manifest() -> Manifest:
    return Manifest(
        architecture=_ARCHITECTURE,
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        vocab_size=WORDS + 1,
        limits=Limits(CONTEXT),
        self_test=SelfTest([[7, 1], [3]], [[7.0, -7.0], [3.0, -3.0]], tolerance=0.0),
        parity=Parity(passed=True, checks=()),
        parameters=0,
        opset=21,
        exporter="bench.identity_checkpoint",
        labels=LABELS,
    )


def _record(number: int) -> Record:
    return Record(
        checkpoint=NAME,
        number=number,
        state=VersionState.READY,
        architecture=_ARCHITECTURE,
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        digest=_ARCHITECTURE,
        create_time=time.time(),
    )
