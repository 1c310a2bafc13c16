"""The quantizer on graphs of a few nodes, against numpy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trine.artifact import WeightForm
from trine.export import quantize

Floats = NDArray[np.float32]

INPUTS, OUTPUTS = 48, 32
LEVELS = {WeightForm.S8: 127, WeightForm.U8: 127, WeightForm.S7: 63}
RNG = np.random.default_rng(0)
WEIGHT: Floats = RNG.standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
OTHER: Floats = RNG.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
BIAS: Floats = RNG.standard_normal(OUTPUTS).astype(np.float32)
ROWS: Floats = RNG.standard_normal((1, 9, INPUTS)).astype(np.float32)


def graph(
    nodes: list[onnx.NodeProto],
    x: list[Any] | None = None,
    outputs: tuple[str, ...] = ("y",),
    **constants: Floats,
) -> onnx.ModelProto:
    """Of x, float32 [1, rows, INPUTS] or `x`; constants by name."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x or [1, "rows", INPUTS])]
    found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    body = helper.make_graph(nodes, "tiny", inputs, found, stored)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def product(**attributes: Any) -> onnx.ModelProto:
    """x @ w."""
    return graph([helper.make_node("MatMul", ["x", "w"], ["y"], **attributes)], w=WEIGHT)


def rewritten(model: onnx.ModelProto, form: WeightForm = WeightForm.S8) -> onnx.ModelProto:
    quantize.rewrite(model, form)
    return model


def run(model: onnx.ModelProto, x: Floats) -> list[Floats]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers: list[Floats] = session.run(None, {"x": x})
    return answers


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def by_numpy(x: Floats, weight: Floats, levels: int) -> NDArray[np.float64]:
    """The row-wise product, in integers."""
    row = np.maximum(np.abs(x).max(axis=-1, keepdims=True), np.float32(1e-9)) * np.float32(1 / 127)
    column = np.abs(weight).max(axis=0) / np.float32(levels)
    integers = np.rint(x / row).astype(np.int64) @ np.rint(weight / column).astype(np.int64)
    answer: NDArray[np.float64] = integers * row.astype(np.float64) * column
    return answer


def error(ours: Floats, exact: NDArray[Any]) -> float:
    return float(np.linalg.norm(ours - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("form", WeightForm)
def test_a_product_is_what_numpy_makes_of_the_same_integers(form: WeightForm) -> None:
    if form is WeightForm.S8 and quantize.weight_form() is not form:
        pytest.skip("this CPU saturates on signed weights")
    (ours,) = run(rewritten(product(), form), ROWS)
    np.testing.assert_allclose(ours, by_numpy(ROWS, WEIGHT, LEVELS[form]), rtol=1e-5, atol=1e-5)
    assert error(ours, ROWS @ WEIGHT) < 0.03


@pytest.mark.parametrize("form", [WeightForm.U8, WeightForm.S7, quantize.weight_form()])
def test_large_positive_rows_do_not_saturate(form: WeightForm) -> None:
    """The worst case of x86 without VNNI: 255 times 127, twice, is beyond 16 bits."""
    x = np.full((1, 2, INPUTS), 1000, np.float32)
    weight = np.full((INPUTS, OUTPUTS), 0.5, np.float32)
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], w=weight)
    (ours,) = run(rewritten(model, form), x)
    np.testing.assert_allclose(ours, x @ weight, rtol=1e-5)


@pytest.mark.parametrize("form", WeightForm)
def test_a_row_is_the_same_in_any_company_bit_for_bit(form: WeightForm) -> None:
    session_model = rewritten(product(), form)
    beside = ROWS.copy()
    beside[0, 4] *= 1000
    (together,) = run(session_model, beside)
    for row in range(ROWS.shape[1]):
        np.testing.assert_array_equal(run(session_model, beside[:, row : row + 1])[0][0, 0], together[0, row])
    np.testing.assert_array_equal(run(session_model, beside[:, ::-1])[0][:, ::-1], together)


def test_rows_of_zeros_and_of_one_value() -> None:
    x = np.zeros((1, 4, INPUTS), np.float32)
    x[0, 1], x[0, 2], x[0, 3] = 3, -3, 1e-30
    (ours,) = run(rewritten(product()), x)
    assert np.isfinite(ours).all()
    np.testing.assert_array_equal(ours[0, 0], 0)
    assert error(ours[0, 1], 3 * WEIGHT.sum(axis=0)) < 0.02
    np.testing.assert_array_equal(ours[0, 2], -ours[0, 1])
    np.testing.assert_allclose(ours[0, 3], 0, atol=1e-8)


def test_no_rows_give_no_rows() -> None:
    """A step in which no sequence wants logits."""
    assert run(rewritten(product()), ROWS[:, :0])[0].shape == (1, 0, OUTPUTS)


def test_a_column_of_zeros_stays_zero() -> None:
    weight = WEIGHT.copy()
    weight[:, 3] = 0
    (ours,) = run(rewritten(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], w=weight)), ROWS)
    np.testing.assert_array_equal(ours[..., 3], 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_keeps_its_bias_and_its_order(bias: bool, transposed: int) -> None:
    weight = WEIGHT.T.copy() if transposed else WEIGHT
    inputs = ["x", "w", *(["b"] if bias else [])]
    nodes = [helper.make_node("Gemm", inputs, ["y"], transB=transposed)]
    model = rewritten(graph(nodes, ["rows", INPUTS], w=weight, b=BIAS))
    (ours,) = run(model, ROWS[0])
    assert error(ours, ROWS[0] @ WEIGHT + (BIAS if bias else 0)) < 0.03
    assert "Gemm" not in operators(model)


def test_products_of_the_same_rows_become_one_and_keep_their_bits() -> None:
    nodes = [helper.make_node("MatMul", ["x", weight], [weight + "y"]) for weight in ("q", "k", "v")]
    nodes.append(helper.make_node("MatMul", ["vy", "o"], ["y"]))
    model = graph(nodes, outputs=("qy", "ky", "vy", "y"), q=WEIGHT, k=2 * WEIGHT, v=-WEIGHT, o=OTHER)
    counted = operators(rewritten(model))
    assert (counted["MatMulIntegerToFloat"], counted["Split"]) == (2, 1)
    assert (counted["QuantizeLinear"], counted["ReduceMax"]) == (2, 2)
    q, k, v, y = run(model, ROWS)
    np.testing.assert_array_equal(q, run(rewritten(product()), ROWS)[0])
    np.testing.assert_array_equal(q, -v)
    np.testing.assert_array_equal(2 * q, k)
    assert error(y, ROWS @ -WEIGHT @ OTHER) < 0.05


def test_products_of_the_same_rows_keep_their_widths_and_their_own_biases() -> None:
    narrow, wide = WEIGHT[:, :20].copy(), np.concatenate([WEIGHT, -WEIGHT], axis=1)
    nodes = [
        helper.make_node("Gemm", ["x", "n", "b"], ["first"]),
        helper.make_node("Relu", ["first"], ["between"]),
        helper.make_node("MatMul", ["x", "w"], ["second"]),
        helper.make_node("Gemm", ["x", "t"], ["third"], transB=1),
    ]
    constants = {"n": narrow, "b": BIAS[:20].copy(), "w": wide, "t": WEIGHT.T.copy()}
    model = graph(nodes, ["rows", INPUTS], ("between", "second", "third"), **constants)
    between, second, third = run(rewritten(model), ROWS[0])
    (alone,) = run(rewritten(product()), ROWS)
    assert operators(model)["MatMulIntegerToFloat"] == 1
    np.testing.assert_array_equal(between, np.maximum(alone[0, :, :20] + BIAS[:20], 0))
    np.testing.assert_array_equal(second, np.concatenate([alone[0], -alone[0]], axis=1))
    np.testing.assert_array_equal(third, alone[0])


def test_a_weight_that_is_used_twice_is_stored_once_and_the_old_one_is_dropped() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Neg", ["x"], ["n"])]
    nodes.append(helper.make_node("MatMul", ["n", "w"], ["y"]))
    model = rewritten(graph(nodes, outputs=("a", "y"), w=WEIGHT))
    large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) >= WEIGHT.size]
    assert [tensor.data_type for tensor in large] == [TensorProto.INT8]
    a, y = run(model, ROWS)
    np.testing.assert_array_equal(a, -y)


def test_a_tied_embedding_stays_as_it_is() -> None:
    nodes = [
        helper.make_node("Gather", ["w", "index"], ["row"]),
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "row"], ["y"]),
    ]
    model = graph(nodes, w=WEIGHT)
    model.graph.initializer.append(numpy_helper.from_array(np.array(5), "index"))
    (ours,) = run(rewritten(model), ROWS)
    (plain,) = run(rewritten(product()), ROWS)
    np.testing.assert_array_equal(ours, plain + WEIGHT[5])


@pytest.mark.parametrize(
    ("node", "x", "constants"),
    [
        (helper.make_node("MatMul", ["x", "x"], ["y"]), ["rows", "rows"], {}),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), [OUTPUTS, 3], {"w": WEIGHT}),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), [4, 2, INPUTS], {"w": np.stack([WEIGHT] * 4)}),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), ["rows", INPUTS], {"w": WEIGHT[:, :3].copy()}),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), ["rows", INPUTS], {"w": WEIGHT[:, 0].copy()}),
        (helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5), ["rows", INPUTS], {"w": WEIGHT}),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), [INPUTS, "rows"], {"w": WEIGHT}),
        (helper.make_node("Add", ["x", "w"], ["y"]), ["rows", OUTPUTS], {"w": WEIGHT[0].copy()}),
    ],
    ids=[
        "no weight",
        "weight left",
        "many weights",
        "few outputs",
        "vector",
        "alpha",
        "transA",
        "no product",
    ],
)
def test_what_is_no_product_of_rows_with_a_weight_is_left_alone(
    node: onnx.NodeProto, x: list[Any], constants: dict[str, Floats]
) -> None:
    model = rewritten(graph([node], x, ("y",), **constants))
    assert list(model.graph.node) == [node]
    assert [tensor.name for tensor in model.graph.initializer] == list(constants)


def test_half_precision_weights_are_left_alone() -> None:
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], w=WEIGHT.astype(np.float16))
    quantize.rewrite(model, WeightForm.S8)
    assert operators(model) == {"MatMul": 1}


def test_weights_lie_beside_the_graph_each_on_a_page(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["y"])]
    onnx.save(
        graph(nodes, w=WEIGHT, v=OTHER), source / "model.onnx", save_as_external_data=True, location="d"
    )
    quantize.quantize(source, target, WeightForm.S8)
    assert sorted(path.name for path in target.iterdir()) == ["model.onnx", "model.onnx.data"]
    bare = onnx.load(str(target / "model.onnx"), load_external_data=False)
    kept = [{entry.key: entry.value for entry in tensor.external_data} for tensor in bare.graph.initializer]
    assert [int(entry["offset"]) % 4096 for entry in kept if entry] == [0, 0]
    session = ort.InferenceSession(target / "model.onnx", providers=["CPUExecutionProvider"])
    assert error(session.run(None, {"x": ROWS})[0], ROWS @ WEIGHT @ OTHER) < 0.05


@pytest.mark.parametrize(
    ("flags", "form"),
    [
        ("fpu sse4_2 avx2", WeightForm.U8),
        ("fpu avx2 avx512f avx512_vnni", WeightForm.S8),
        ("fpu avx2 avx_vnni", WeightForm.S8),
    ],
)
def test_the_form_follows_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, form: WeightForm
) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: EPYC\nflags\t\t: {flags}\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert quantize.weight_form(tmp_path / "cpuinfo") is form
    assert quantize.weight_form(tmp_path / "nowhere") is WeightForm.U8
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert quantize.weight_form(tmp_path / "nowhere") is WeightForm.S8


@pytest.mark.parametrize("form", WeightForm)
def test_weights_are_symmetric_around_their_zero(form: WeightForm) -> None:
    integers, scales = quantize.quantize_weight(WEIGHT, form)
    zero = 128 if form is WeightForm.U8 else 0
    assert integers.dtype == (np.uint8 if form is WeightForm.U8 else np.int8)
    assert np.abs(integers.astype(int) - zero).max() == LEVELS[form]
    np.testing.assert_allclose(
        (integers.astype(np.float32) - zero) * scales, WEIGHT, atol=0.51 * scales.max()
    )
