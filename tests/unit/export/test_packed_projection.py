"""One product for an encoder layer's three projections: the same answers, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from trine.export import packed_projection

HIDDEN, TOKENS = 8, 5
PAD = np.array([0, 1, 2, 3, 4, 4])


class GroupQueryAttention(OpRun):  # type: ignore[misc]
    """Not attention, but what tells queries, keys and values apart, packed or not."""

    op_domain = "com.microsoft"

    def _run(self, query, key=None, value=None, *_, **__):  # type: ignore[no-untyped-def]
        if key is None:
            query, key, value = np.split(query, 3, axis=-1)
        return (query + 2 * key - 3 * value,)


def layer(
    *, biased: bool = True, sources: tuple[str, str, str] = ("x", "x", "x"), past: str = ""
) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=(HIDDEN, HIDDEN)).astype(np.float32), f"w{part}")
        for part in "qkv"
    ]
    biases = [
        numpy_helper.from_array(random.normal(size=HIDDEN).astype(np.float32), f"b{part}") for part in "qkv"
    ]
    constants = {"flat": [-1, HIDDEN], "batch": [2], "open": [-1], "width": [HIDDEN]}
    nodes = [helper.make_node("Concat", ["batch", "open", "width"], ["shape"], axis=0)]
    for part, source in zip("qkv", sources, strict=True):
        nodes.append(helper.make_node("MatMul", [source, f"w{part}"], [f"{part}1"]))
        nodes.append(
            helper.make_node("Add", [f"{part}1", f"b{part}"], [f"{part}2"])
            if biased
            else helper.make_node("Reshape", [f"{part}1", "flat"], [f"{part}2"])
        )
        nodes.append(helper.make_node("Reshape", [f"{part}2", "flat"], [f"{part}3"]))
        nodes.append(helper.make_node("Gather", [f"{part}3", "pad"], [f"{part}4"], axis=0))
        nodes.append(helper.make_node("Reshape", [f"{part}4", "shape"], [f"{part}5"]))
    nodes.append(
        helper.make_node(
            "GroupQueryAttention", ["q5", "k5", "v5", past, past], ["attended"], domain="com.microsoft"
        )
    )
    floats = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, HIDDEN])
        for name in dict.fromkeys((*sources, *([past] if past else [])))
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [*floats, helper.make_tensor_value_info("pad", onnx.TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("attended", onnx.TensorProto.FLOAT, None)],
        [*weights, *biases, *(numpy_helper.from_array(np.array(v), k) for k, v in constants.items())],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets)


def answer(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(1, TOKENS, HIDDEN)).astype(np.float32)
    (rows,) = ReferenceEvaluator(model, new_ops=[GroupQueryAttention]).run(None, {"x": x, "pad": PAD})
    return np.asarray(rows)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("biased", [True, False])
def test_the_answer_stays_and_the_products_become_one(tmp_path: Path, biased: bool) -> None:
    before = layer(biased=biased)
    path = tmp_path / "model.onnx"
    onnx.save(before, str(path))
    packed_projection.fuse(path)
    after = onnx.load(str(path))
    assert operators(after).count("MatMul") == operators(after).count("Gather") == 1
    assert {tensor.name for tensor in after.graph.initializer}.isdisjoint({"wq", "wk", "wv", "bq"})
    np.testing.assert_allclose(answer(after), answer(before), rtol=1e-5, atol=1e-6)


def read_elsewhere() -> onnx.ModelProto:
    model = layer()
    model.graph.output.append(helper.make_tensor_value_info("q4", onnx.TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize(
    "model",
    [layer(sources=("x", "y", "y")), layer(past="cache"), read_elsewhere()],
    ids=["two sources", "a cache", "read elsewhere"],
)
def test_other_attention_is_left_as_it_is(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    written = path.read_bytes()
    packed_projection.fuse(path)
    assert path.read_bytes() == written
    assert not path.with_name("model.onnx.data").exists()
