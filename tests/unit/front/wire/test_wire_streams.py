"""Streams: one response for a delta, and what becomes of a stream that its caller, its deadline or its engine ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, decode, refused, settings
from trine import errors, frames
from trine.v1 import inference_pb2

SEGMENTS = [
    inference_pb2.Segment(
        source_begin=1,
        source_end=4,
        target_begin=0,
        target_end=5,
        finish_reason=inference_pb2.FINISH_REASON_LENGTH,
    ),
    inference_pb2.Segment(
        source_begin=6,
        source_end=7,
        target_begin=7,
        target_end=9,
        finish_reason=inference_pb2.FINISH_REASON_STOP,
    ),
]
SERVICE = {"grpc_service": "trine.v1.InferenceService"}


def request(*texts: str) -> inference_pb2.StreamGenerateRequest:
    inputs = [inference_pb2.GenerateInput(text=text) for text in texts]
    return inference_pb2.StreamGenerateRequest(checkpoint="known", inputs=inputs)


def handled(rig: Rig, method: str, type_: str, code: str) -> float | None:
    return rig.value(
        "grpc_server_handled_total", **SERVICE, grpc_method=method, grpc_type=type_, grpc_code=code
    )


async def test_every_delta_is_one_response(rig: Rig) -> None:
    responses = [response async for response in rig.stub.StreamGenerate(request("ab", "c"))]
    stop = inference_pb2.FINISH_REASON_LENGTH
    assert [(r.checkpoint, r.input_index, r.text, r.finish_reason) for r in responses] == [
        ("known:1", 0, "a", 0),
        ("known:1", 1, "c", stop),
        ("known:1", 0, "b", stop),
    ]
    assert [r.HasField("usage") for r in responses] == [False, True, True]
    assert responses[1].usage == inference_pb2.Usage(input_tokens=5, output_tokens=2)
    assert handled(rig, "StreamGenerate", "server_stream", "OK") == 1


async def test_a_translation_streams_the_same_way(rig: Rig) -> None:
    inputs = [inference_pb2.TranslateInput(text="ab")]
    call = rig.stub.StreamTranslate(inference_pb2.StreamTranslateRequest(checkpoint="known", inputs=inputs))
    responses = [response async for response in call]
    assert [(r.input_index, r.text) for r in responses] == [(0, "a"), (0, "b")]
    assert [list(r.segments) for r in responses] == [[], SEGMENTS]


async def test_unary_answers_keep_their_order(rig: Rig) -> None:
    classify = await rig.stub.Classify(
        inference_pb2.ClassifyRequest(
            checkpoint="known", inputs=[inference_pb2.ClassifyInput(text=text) for text in "abc"]
        )
    )
    assert classify.checkpoint == "known:1"
    assert [[label.name for label in result.labels] for result in classify.results] == [
        [text, "other"] for text in "abc"
    ]
    assert [label.score for label in classify.results[0].labels] == [0.75, 0.25]
    generate = await rig.stub.Generate(
        inference_pb2.GenerateRequest(
            checkpoint="known", inputs=[inference_pb2.GenerateInput(text=text) for text in "ab"]
        )
    )
    assert [(r.text, r.finish_reason) for r in generate.results] == [
        (text, inference_pb2.FINISH_REASON_STOP) for text in "ab"
    ]
    translate = await rig.stub.Translate(
        inference_pb2.TranslateRequest(
            checkpoint="known", inputs=[inference_pb2.TranslateInput(text=text) for text in "ab"]
        )
    )
    assert [r.text for r in translate.results] == ["a", "b"]
    assert translate.results[1].usage.output_tokens == 2
    assert [list(r.segments) for r in translate.results] == [SEGMENTS, SEGMENTS]


async def test_a_stop_tells_what_matched(rig: Rig) -> None:
    inputs = [inference_pb2.GenerateInput(text="ab")]
    alternatives = [
        inference_pb2.Alternative(token_id=3, text="x", logprob=-0.5),
        inference_pb2.Alternative(token_id=4, text="y", logprob=-1.5),
    ]
    logprob = inference_pb2.TokenLogprob(token_id=3, text="x", logprob=-0.5, alternatives=alternatives)
    fields: dict[str, Any] = {"checkpoint": "known", "inputs": inputs, "logprobs": 2}
    response = await rig.stub.Generate(inference_pb2.GenerateRequest(stop=["\n"], **fields))
    (result,) = response.results
    assert result.finish_reason == inference_pb2.FINISH_REASON_STOP_SEQUENCE
    assert (result.WhichOneof("matched_stop"), result.stop_string) == ("stop_string", "\n")
    assert list(result.logprobs) == [logprob]
    response = await rig.stub.Generate(inference_pb2.GenerateRequest(stop_token_ids=[0], **fields))
    (result,) = response.results
    assert (result.WhichOneof("matched_stop"), result.stop_token_id) == ("stop_token_id", 0)
    call = rig.stub.StreamGenerate(inference_pb2.StreamGenerateRequest(stop=["\n"], **fields))
    first, last = [delta async for delta in call]
    assert (first.WhichOneof("matched_stop"), list(first.logprobs)) == (None, [])
    assert (last.stop_string, list(last.logprobs)) == ("\n", [logprob])
    assert last.finish_reason == inference_pb2.FINISH_REASON_STOP_SEQUENCE


async def test_a_caller_that_leaves_closes_the_stream(rig: Rig) -> None:
    rig.inference.gate.clear()
    call = rig.stub.StreamGenerate(request("ab"))
    assert (await call.read()).text == "a"
    call.cancel()
    async with asyncio.timeout(10):
        await rig.inference.closed.wait()
        while handled(rig, "StreamGenerate", "server_stream", "CANCELLED") != 1:
            await asyncio.sleep(0.001)


async def test_a_caller_that_leaves_cancels_a_unary_call(rig: Rig) -> None:
    rig.inference.gate.clear()
    inputs = [inference_pb2.ClassifyInput(text="a")]
    call = asyncio.ensure_future(
        rig.stub.Classify(inference_pb2.ClassifyRequest(checkpoint="known", inputs=inputs))
    )
    await rig.inference.entered.wait()
    call.cancel()
    async with asyncio.timeout(10):
        await rig.inference.closed.wait()
        while handled(rig, "Classify", "unary", "CANCELLED") != 1:
            await asyncio.sleep(0.001)


async def test_a_deadline_ends_what_serving_does_not_end(rig: Rig) -> None:
    rig.inference.gate.clear()
    call = rig.stub.StreamGenerate(request("ab"), timeout=0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        await rig.inference.closed.wait()
        while handled(rig, "StreamGenerate", "server_stream", "DEADLINE_EXCEEDED") != 1:
            await asyncio.sleep(0.001)


async def test_an_engine_that_dies_amid_a_stream_is_told_after_its_deltas(rig: Rig) -> None:
    rig.inference.error_after_deltas = errors.EngineLost("the engine died")
    call = rig.stub.StreamGenerate(request("ab"))
    texts = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for response in call:
            texts.append(response.text)
    refusal = decode(caught.value)
    assert texts == ["a"]
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_LOST")
    assert refusal.retry_after == rig.settings.retry_after
    assert handled(rig, "StreamGenerate", "server_stream", "UNAVAILABLE") == 1


async def test_calls_are_counted_by_code(rig: Rig) -> None:
    good = inference_pb2.ClassifyRequest(checkpoint="a", inputs=[inference_pb2.ClassifyInput(text="a")])
    for _ in range(3):
        await rig.stub.Classify(good)
    await refused(rig.stub.Classify(inference_pb2.ClassifyRequest()))
    labels = {**SERVICE, "grpc_method": "Classify", "grpc_type": "unary"}
    assert rig.value("grpc_server_started_total", **labels) == 4
    assert rig.value("grpc_server_handling_seconds_count", **labels) == 4
    assert handled(rig, "Classify", "unary", "OK") == 3
    assert handled(rig, "Classify", "unary", "INVALID_ARGUMENT") == 1


@pytest.mark.parametrize("options", [settings(default_timeout=0.3)])
async def test_a_caller_that_reads_nothing_cannot_hold_a_stream_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()

    async def endless(*_: object, **__: object) -> AsyncGenerator[tuple[str, list[frames.Delta]]]:
        try:
            while True:
                yield "known:1", [frames.Delta(1, 0, "x" * 100_000)]
        finally:
            closed.set()

    monkeypatch.setattr(rig.inference, "stream", endless)
    call = rig.stub.StreamGenerate(request("a"))
    async with asyncio.timeout(10):
        await closed.wait()
    assert (await refused(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED
