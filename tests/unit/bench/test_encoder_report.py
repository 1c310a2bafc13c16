"""Which candidates of the bench of encoders are compared, and what is told of them."""

from __future__ import annotations

import pytest
from bench.encoder import promises, report
from bench.encoder.report import Found
from bench.encoder.work import EncoderWork
from bench.summary import Sample

LOGITS = [[1.0, -2.0], [0.5, 0.0]]


def found(kind: str, **processor: float) -> Found:
    one: Found = Found(EncoderWork("bert-base", kind))
    for name, value in processor.items():
        one.samples[name.replace("_", " ")] = [Sample(value, 2 * value)] * 3
    return one


def told(one: Found) -> dict[tuple[str, str], tuple[float, float | None]]:
    return {(ours, peer): (value.median, floor) for ours, peer, value, floor in report.ratios(one)}


def test_at_library_level_our_runners_are_compared_with_all_others_and_the_floors_are_those_of_the_work() -> (
    None
):
    figures = {"runtime_fp32": 8, "runtime_int8": 4, "CTranslate2_int8": 6, "OpenVINO_fp32": 12}
    assert told(found("ragged", **figures)) == {
        ("runtime fp32", "CTranslate2 int8"): (0.75, None),
        ("runtime fp32", "OpenVINO fp32"): (1.5, None),
        ("runtime int8", "CTranslate2 int8"): (1.5, 1.0),
        ("runtime int8", "OpenVINO fp32"): (3, 2.0),
    }
    assert told(found("16x64", **figures))["runtime int8", "CTranslate2 int8"] == (1.5, None)


def test_equal_lengths_have_a_floor_against_both_forms_of_the_padded_graph() -> None:
    one = found("8x128", runtime_fp32=10, onnxruntime_fused_fp32=9.5, onnxruntime_fp32=8)
    assert told(one) == {
        ("runtime fp32", "onnxruntime fused fp32"): (0.95, 0.9),
        ("runtime fp32", "onnxruntime fp32"): (0.8, 0.9),
    }


def test_the_server_is_compared_with_the_runner_of_its_precision() -> None:
    one = found("ragged", runtime_fp32=8, served_fp32=10, runtime_int8=4, served_int8=4)
    assert told(one) == {
        ("served fp32", "runtime fp32"): (0.8, 0.95),
        ("served int8", "runtime int8"): (1, 0.95),
    }
    stream = found("stream", runtime_int8=4, streamed_int8=5)
    assert told(stream) == {("streamed int8", "runtime int8"): (0.8, 0.8)}


def test_a_further_artifact_is_ours_as_well() -> None:
    one = found("ragged", runtime_new=2, runtime_int8=4, CTranslate2_int8=6)
    assert set(told(one)) == {("runtime new", "CTranslate2 int8"), ("runtime int8", "CTranslate2 int8")}


def test_a_difference_is_a_share_of_the_largest_logit() -> None:
    one = found("ragged")
    one.written = {"a": [[1.0, -2.0], [0.5, 0.25]], "PyTorch fp32": LOGITS, "runtime fp32": LOGITS}
    assert report.difference(one) == {"a": pytest.approx(0.125), "runtime fp32": 0}
    del one.written["PyTorch fp32"]
    assert report.difference(one) == {"a": pytest.approx(0.125)}
    del one.written["runtime fp32"]
    assert report.difference(one) == {}


def test_other_numbers_of_logits_are_an_error() -> None:
    one = found("ragged")
    one.written = {"PyTorch fp32": LOGITS, "a": [[1.0], [0.5]]}
    with pytest.raises(ValueError, match="zip"):
        report.difference(one)


def test_the_page_has_speeds_verdicts_and_what_was_left_out() -> None:
    one = found("16x64", runtime_fp32=10, onnxruntime_fused_fp32=8)
    lines = report.page("Said first.", [one], {"runtime fp32": {"numbers": "fp32"}}, ["OpenVINO: no wheel"])
    text = "\n".join(lines)
    assert "Medians of 3 interleaved rounds" in text
    assert "| runtime fp32 | 100 (100–100) |" in text  # noqa: RUF001
    verdict = "| runtime fp32 | onnxruntime fused fp32 | 0.8 (0.8–0.8) | 0.9: **missed** |"  # noqa: RUF001
    assert f"| 16 of 64 tokens {verdict}" in text
    assert "Not measured: OpenVINO: no wheel." in text


def test_the_promises_have_a_row_for_each_work_and_a_column_for_each_pair() -> None:
    one = found("16x64", runtime_fp32=10, onnxruntime_fused_fp32=8)
    lines = promises.library(report.as_json([one], {}, [])).splitlines()
    columns = [cell.strip() for cell in lines[0].strip("|").split("|")]
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    row = dict(zip(columns, cells, strict=True))
    assert row["ours fp32 : onnxruntime fused fp32"] == "0.8 (0.8–0.8); floor 0.9: **missed**"  # noqa: RUF001
    assert row["ours int8 : CTranslate2 int8"] == "-"
