"""Streams in both directions: ids correlate, errors are one input's own, what is in flight is bounded, the end is orderly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from tests.unit.front.waiting import until
from tests.unit.front.wire.rig import Rig, refused, settings
from trine.errors import Bug, InvalidInput, Overloaded
from trine.v1 import inference_pb2 as pb

METHODS = ["StreamClassify", "StreamClassifyTokens", "StreamEmbed"]
TOLD: dict[str, Callable[[Any], str]] = {
    "StreamClassify": lambda result: str(result.labels[0].name),
    "StreamClassifyTokens": lambda result: str(result.entities[0].label),
    "StreamEmbed": lambda result: "x" * int(result.values[0]),
}
"""What serving's stand-in made of the text."""
SERVICE = {"grpc_service": "trine.v1.InferenceService"}


def build(method: str, id: str, text: str = "ab", **fields: Any) -> Any:
    make = getattr(pb, f"{method.removeprefix('Stream')}Input")
    given = {"id": id, "checkpoint": "known", "input": make(text=text), **fields}
    return getattr(pb, f"{method}Request")(**given)


def stream(rig: Rig, requests: Any, method: str = "StreamClassify", **options: Any) -> Any:
    return getattr(rig.stub, method)(requests, **options)


def wait_for(rig: Rig, *texts: str) -> None:
    rig.inference.gates.update({text: asyncio.Event() for text in texts})


@pytest.mark.parametrize("method", METHODS)
async def test_each_input_is_answered_under_its_id(rig: Rig, method: str) -> None:
    requests = [build(method, f"n{n}", "x" * (n + 1)) for n in range(100)]
    answers = {answer.id: answer async for answer in stream(rig, iter(requests), method)}
    assert sorted(answers) == sorted(request.id for request in requests)
    for n, request in enumerate(requests):
        answer = answers[request.id]
        assert (answer.checkpoint, answer.WhichOneof("outcome")) == ("known:1", "result")
        assert answer.result.usage.input_tokens == 5
        told = TOLD[method](answer.result)
        assert told == "x" * (n + 1)
    assert rig.value(
        "grpc_server_handled_total", **SERVICE, grpc_method=method, grpc_type="bidi_stream", grpc_code="OK"
    )


async def test_answers_come_when_they_are_ready(rig: Rig) -> None:
    wait_for(rig, "slow")
    call = stream(rig, iter([build("StreamClassify", "1", "slow"), build("StreamClassify", "2", "quick")]))
    assert (await call.read()).id == "2"
    rig.inference.gates["slow"].set()
    assert (await call.read()).id == "1"
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


def details(error: Any) -> tuple[error_details_pb2.ErrorInfo, Any, Any]:
    parts = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in error.details:
        next(part for part in parts if detail.Is(part.DESCRIPTOR)).MergeFrom(_unpacked(detail, parts))
    return parts


def _unpacked(detail: Any, parts: Any) -> Any:
    message = next(type(part)() for part in parts if detail.Is(part.DESCRIPTOR))
    detail.Unpack(message)
    return message


@pytest.mark.parametrize("method", METHODS)
async def test_one_bad_input_fails_alone(rig: Rig, method: str) -> None:
    rig.inference.errors = {
        "long": InvalidInput("the text is too long", field="inputs[0].text"),
        "full": Overloaded("too many requests are in flight", retry_after=0.25),
        "bug": RuntimeError("/secret"),
        "ours": Bug("/secret too"),
    }
    requests = [
        build(method, "1"),
        build(method, "2", "long"),
        build(method, "3", ""),
        build(method, "4", checkpoint=""),
        build(method, "5", priority=9),
        build(method, "6", "full"),
        build(method, "7", "bug"),
        build(method, "8", "ours"),
        build(method, "9" * 129),
        build(method, "10"),
    ]
    answers = {answer.id: answer async for answer in stream(rig, iter(requests), method)}
    assert [answers[id].WhichOneof("outcome") for id in ("1", "10")] == ["result"] * 2
    for id, reason, field in [
        ("2", "INVALID_INPUT", "input.text"),
        ("3", "INVALID_INPUT", "input.text"),
        ("4", "INVALID_INPUT", "checkpoint"),
        ("5", "INVALID_INPUT", "priority"),
        ("9" * 128, "INVALID_INPUT", "id"),
    ]:
        info, bad, _ = details(answers[id].error)
        assert (info.reason, info.domain, [one.field for one in bad.field_violations]) == (
            reason,
            "trine",
            [field],
        )
        assert answers[id].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert answers[id].checkpoint == ""
    info, _, retry = details(answers["6"].error)
    assert (info.reason, retry.retry_delay.ToMilliseconds()) == ("OVERLOADED", 250)
    for id in "78":
        assert (answers[id].error.code, answers[id].error.message) == (13, "internal error")


class Source:
    """Requests without end, counted as gRPC takes them."""

    def __init__(self, text: str = "x") -> None:
        self.taken = 0
        self.text = text

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            self.taken += 1
            yield build("StreamClassify", str(self.taken), self.text)


@pytest.mark.parametrize("options", [settings(max_stream_inputs=3)])
async def test_what_is_in_flight_is_bounded(rig: Rig) -> None:
    wait_for(rig, "x")
    call = stream(rig, Source())
    await until(lambda: rig.inference.running == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.inference.running == len(rig.inference.calls) == 3
    rig.inference.gates["x"].set()
    for _ in range(50):
        await call.read()
    assert len(rig.inference.calls) >= 50
    call.cancel()
    await until(lambda: rig.inference.running == 0)


@pytest.mark.parametrize("options", [settings(max_stream_inputs=4)])
async def test_a_caller_who_does_not_read_is_not_read(rig: Rig) -> None:
    """What gRPC buffers on both sides is bounded by bytes: long answers show it soon."""
    call = stream(rig, Source("x" * 60_000))
    await call.read()
    before = -1
    while before != len(rig.inference.calls):
        before = len(rig.inference.calls)
        await asyncio.sleep(0.3)
    assert before < 100
    assert rig.inference.held == 4, "what is answered and not read holds its permit"
    call.cancel()
    await until(lambda: rig.inference.held == 0)


@pytest.mark.parametrize("options", [settings(default_timeout=0.3)])
async def test_a_caller_who_never_reads_is_given_up(rig: Rig) -> None:
    call = stream(rig, Source("x" * 60_000), timeout=60)
    await call.read()
    labels = {**SERVICE, "grpc_method": "StreamClassify", "grpc_type": "bidi_stream"}
    await until(lambda: rig.value("grpc_server_handled_total", **labels, grpc_code="DEADLINE_EXCEEDED") == 1)
    assert rig.inference.held == 0
    call.cancel()


@pytest.mark.parametrize("options", [settings(default_timeout=0.3)])
async def test_a_stream_lasts_while_it_is_read(rig: Rig) -> None:
    """Each write has its own time, and what is between two answers does not count."""
    wait_for(rig, "slow")
    call = stream(rig, iter([build("StreamClassify", "1"), build("StreamClassify", "2", "slow")]))
    await call.read()
    await asyncio.sleep(0.7)
    rig.inference.gates["slow"].set()
    assert (await call.read()).id == "2"
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("options", [settings(max_message_bytes=1024)])
async def test_an_answer_that_is_larger_than_a_message_fails_alone(rig: Rig) -> None:
    """The stand-in tells a text twice."""
    requests = [build("StreamClassifyTokens", str(n), "x" * length) for n, length in enumerate((9, 900))]
    answers = {answer.id: answer async for answer in stream(rig, iter(requests), "StreamClassifyTokens")}
    assert answers["0"].WhichOneof("outcome") == "result"
    info, bad, _ = details(answers["1"].error)
    assert (info.reason, [one.field for one in bad.field_violations]) == ("INVALID_INPUT", ["input"])
    inputs = [pb.ClassifyTokensInput(text="x" * 900)]
    refusal = await refused(
        rig.stub.ClassifyTokens(pb.ClassifyTokensRequest(checkpoint="known", inputs=inputs))
    )
    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["inputs"])
    assert "one message may have 1024: send fewer inputs" in refusal.message


async def test_a_caller_who_leaves_ends_what_runs(rig: Rig) -> None:
    wait_for(rig, "slow")
    call = stream(rig, iter([build("StreamEmbed", str(n), "slow") for n in range(5)]), "StreamEmbed")
    await until(lambda: rig.inference.running == 5)
    call.cancel()
    await until(lambda: rig.inference.running == 0)


async def test_bytes_that_are_no_message_end_the_stream_after_its_answers(rig: Rig) -> None:
    make: Any = rig.channel.stream_stream("/trine.v1.InferenceService/StreamClassify")
    good = build("StreamClassify", "1").SerializeToString()
    call = make(iter([good, b"\xff\xff"]))
    first = pb.StreamClassifyResponse.FromString(await anext(aiter(call)))
    assert (first.id, first.WhichOneof("outcome")) == ("1", "result")
    refusal = await refused(call)
    assert refusal.info.reason == "MALFORMED_REQUEST"


async def test_a_stream_without_inputs_ends_well(rig: Rig) -> None:
    call = stream(rig, iter([]))
    assert [answer async for answer in call] == []
    assert await call.code() is grpc.StatusCode.OK


async def test_a_drain_answers_what_was_read_and_ends_the_stream(rig: Rig) -> None:
    wait_for(rig, "slow")
    sent, more = asyncio.Event(), asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield build("StreamClassify", "1", "slow")
        sent.set()
        await more.wait()

    call = stream(rig, requests())
    await until(lambda: rig.inference.running == 1)
    stopping = asyncio.create_task(rig.servers.stop(10.0))
    await asyncio.sleep(0)
    rig.inference.gates["slow"].set()
    assert (await anext(aiter(call))).id == "1"
    refusal = await refused(call)
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    async with asyncio.timeout(5):
        await stopping
    more.set()


@pytest.mark.parametrize("options", [settings(default_timeout=7.0)])
async def test_an_input_waits_no_longer_than_a_call_would(rig: Rig) -> None:
    for deadline, most in ((None, None), (100.0, 7.0), (3.0, 4.0)):
        async for _ in stream(rig, iter([build("StreamClassify", "1")]), timeout=deadline):
            pass
        # gRPC rounds a timeout up on its way.
        timeout = rig.inference.calls.pop()["caller"].timeout
        assert timeout is None if most is None else 0 < timeout <= most
