"""Every error of errors.py, as a client sees it."""

from __future__ import annotations

import logging

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused
from trine import errors
from trine.front.wire.status import MAX_MESSAGE, code_of
from trine.v1 import inference_pb2

Code = grpc.StatusCode

TABLE = {
    errors.CallerError: Code.INVALID_ARGUMENT,
    errors.InvalidInput: Code.INVALID_ARGUMENT,
    errors.MalformedRequest: Code.INVALID_ARGUMENT,
    errors.CheckpointNotFound: Code.NOT_FOUND,
    errors.WrongTask: Code.FAILED_PRECONDITION,
    errors.NotPossible: Code.FAILED_PRECONDITION,
    errors.RepositoryFull: Code.FAILED_PRECONDITION,
    errors.CheckpointRefused: Code.FAILED_PRECONDITION,
    errors.NotACheckpoint: Code.FAILED_PRECONDITION,
    errors.UnsafeCheckpoint: Code.FAILED_PRECONDITION,
    errors.UnsupportedArchitecture: Code.FAILED_PRECONDITION,
    errors.ExportFailed: Code.FAILED_PRECONDITION,
    errors.ArtifactCorrupt: Code.FAILED_PRECONDITION,
    errors.TryLater: Code.UNAVAILABLE,
    errors.Overloaded: Code.RESOURCE_EXHAUSTED,
    errors.NotLive: Code.UNAVAILABLE,
    errors.EngineLost: Code.UNAVAILABLE,
    errors.Draining: Code.UNAVAILABLE,
    errors.DeadlineExceeded: Code.DEADLINE_EXCEEDED,
}
REQUEST = inference_pb2.ClassifyRequest(checkpoint="known", inputs=[inference_pb2.ClassifyInput(text="a")])


def test_every_error_of_the_tree_stands_in_this_table() -> None:
    assert set(errors.BY_REASON.values()) - set(TABLE) == {errors.Bug}


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
async def test_error_is_answered_with_its_code_and_reason(rig: Rig, kind: type[errors.TrineError]) -> None:
    rig.inference.error = kind("these are our words")
    refusal = await refused(rig.stub.Classify(REQUEST))
    assert (refusal.code, refusal.message) == (TABLE[kind], "these are our words")
    assert (refusal.info.reason, refusal.info.domain) == (kind.reason, "trine")
    assert refusal.fields == []
    assert refusal.retry_after == (rig.settings.retry_after if issubclass(kind, errors.TryLater) else None)


async def test_field_and_retry_time_travel(rig: Rig) -> None:
    rig.inference.error = errors.Overloaded("full", field="inputs[3].text", retry_after=2.25)
    refusal = await refused(rig.stub.Classify(REQUEST))
    assert refusal.fields == ["inputs[3].text"]
    assert dict(refusal.info.metadata) == {"field": "inputs[3].text"}
    assert refusal.retry_after == 2.25


@pytest.mark.parametrize(
    "error", [errors.Bug("slot 7 leaked"), errors.TrineError("plain"), RuntimeError("/home/x")]
)
async def test_what_is_not_the_callers_business_is_logged_and_not_told(
    rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rig.inference.error = error
    with caplog.at_level(logging.ERROR):
        refusal = await refused(rig.stub.Classify(REQUEST))
    assert (refusal.code, refusal.message) == (Code.INTERNAL, "internal error")
    assert (refusal.info.reason, dict(refusal.info.metadata)) == ("INTERNAL", {})
    (record,) = [record for record in caplog.records if record.name.startswith("trine")]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_a_long_message_still_fits_into_the_trailers(rig: Rig) -> None:
    for character in ("a", "ü", "\U0001f600"):
        rig.inference.error = errors.Overloaded(character * 100_000, field="inputs[255].text")
        for _ in range(20):  # clients refuse trailers of a middling size at random
            refusal = await refused(rig.stub.Classify(REQUEST))
            assert refusal.code is Code.RESOURCE_EXHAUSTED
            assert refusal.message == character * (MAX_MESSAGE // len(character.encode()))


async def test_a_message_that_is_no_utf8_is_told_nevertheless(rig: Rig) -> None:
    rig.inference.error = errors.InvalidInput("it is \ud800")
    assert (await refused(rig.stub.Classify(REQUEST))).message == "it is ?"


def test_no_error_of_another_library_has_a_code() -> None:
    assert code_of(KeyError("x")) is Code.INTERNAL
    assert code_of(TimeoutError()) is Code.INTERNAL
