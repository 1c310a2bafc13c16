"""What arrives: bytes that are no request, fields out of range, and what serving gets of a good one."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused, settings
from trine.artifact import Task
from trine.sampling import Sampling, Stopping
from trine.v1 import checkpoint_pb2, inference_pb2

INFERENCE = "/trine.v1.InferenceService"
INVALID_UTF8 = b"\x0a\x02\xff\xfe"  # field 1, the checkpoint, is no UTF-8
TRUNCATED = b"\x0a\x7fabc"  # says 127 bytes, has three
BAD_TAG = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

UNARY = ["Classify", "Generate", "Translate"]
STREAMED = ["StreamGenerate", "StreamTranslate"]


def raw_call(channel: grpc.aio.Channel, path: str, streamed: bool) -> Any:
    return channel.unary_stream(path) if streamed else channel.unary_unary(path)


@pytest.mark.parametrize("data", [INVALID_UTF8, TRUNCATED, BAD_TAG], ids=["utf8", "truncated", "tag"])
@pytest.mark.parametrize("method", UNARY + STREAMED)
async def test_bytes_that_do_not_parse(rig: Rig, method: str, data: bytes) -> None:
    refusal = await refused(raw_call(rig.channel, f"{INFERENCE}/{method}", method in STREAMED)(data))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.info.reason == "MALFORMED_REQUEST"
    assert refusal.message == "the request's bytes are no message of this method"
    assert rig.inference.calls == []


async def test_bytes_that_do_not_parse_on_every_other_service(rig: Rig) -> None:
    for path, streamed in (
        ("/trine.v1.CheckpointService/GetCheckpoint", False),
        ("/trine.v1.CheckpointService/RegisterCheckpoint", True),
        ("/grpc.health.v1.Health/Check", False),
        ("/grpc.health.v1.Health/Watch", True),
    ):
        refusal = await refused(raw_call(rig.admin_channel, path, streamed)(INVALID_UTF8))
        assert refusal.info.reason == "MALFORMED_REQUEST", path
    stream: Any = rig.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    refusal = await refused(stream(iter([INVALID_UTF8])))
    assert refusal.info.reason == "MALFORMED_REQUEST"


@pytest.mark.parametrize("method", ["Classify", "StreamGenerate"])
async def test_a_call_without_a_message_is_answered(rig: Rig, method: str) -> None:
    make = rig.channel.stream_stream if method in STREAMED else rig.channel.stream_unary
    refusal = await refused(make(f"{INFERENCE}/{method}")(iter([]), timeout=10))
    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize("options", [settings(max_message_bytes=2048)])
async def test_a_message_over_the_limit_is_refused(rig: Rig) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw_call(rig.channel, f"{INFERENCE}/Classify", False)(b"a" * 4096, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.inference.calls == []


async def test_unknown_methods_are_unimplemented_and_add_no_series(rig: Rig) -> None:
    before = rig.series()
    for index in range(50):
        for path in (f"{INFERENCE}/No{index}", f"/no.Service{index}/Classify"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw_call(rig.channel, path, False)(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert rig.series() == before


async def test_administration_is_not_on_the_inference_port(rig: Rig) -> None:
    for channel, path in (
        (rig.channel, "/trine.v1.CheckpointService/ListCheckpoints"),
        (rig.admin_channel, f"{INFERENCE}/Classify"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw_call(channel, path, False)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


NAN, INF = float("nan"), float("inf")
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"checkpoint": ""}, "checkpoint"),
    ({"texts": []}, "inputs"),
    ({"texts": ["a", "b", ""]}, "inputs[2].text"),
    ({"priority": 4}, "priority"),
    ({"priority": -1}, "priority"),
]
BAD_GENERATION_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"sampling": inference_pb2.Sampling(temperature=NAN)}, "sampling.temperature"),
    ({"sampling": inference_pb2.Sampling(temperature=INF)}, "sampling.temperature"),
    ({"sampling": inference_pb2.Sampling(temperature=-0.5)}, "sampling.temperature"),
    ({"sampling": inference_pb2.Sampling(temperature=10.5)}, "sampling.temperature"),
    ({"sampling": inference_pb2.Sampling(top_p=NAN)}, "sampling.top_p"),
    ({"sampling": inference_pb2.Sampling(top_p=0.0)}, "sampling.top_p"),
    ({"sampling": inference_pb2.Sampling(top_p=1.5)}, "sampling.top_p"),
    ({"sampling": inference_pb2.Sampling(min_p=NAN)}, "sampling.min_p"),
    ({"sampling": inference_pb2.Sampling(min_p=1.5)}, "sampling.min_p"),
    ({"sampling": inference_pb2.Sampling(repetition_penalty=NAN)}, "sampling.repetition_penalty"),
    ({"sampling": inference_pb2.Sampling(repetition_penalty=0.0)}, "sampling.repetition_penalty"),
    ({"sampling": inference_pb2.Sampling(presence_penalty=NAN)}, "sampling.presence_penalty"),
    ({"sampling": inference_pb2.Sampling(presence_penalty=-2.5)}, "sampling.presence_penalty"),
    ({"sampling": inference_pb2.Sampling(frequency_penalty=NAN)}, "sampling.frequency_penalty"),
    ({"sampling": inference_pb2.Sampling(frequency_penalty=2.5)}, "sampling.frequency_penalty"),
    ({"sampling": inference_pb2.Sampling(no_repeat_ngram_size=65)}, "sampling.no_repeat_ngram_size"),
    ({"sampling": inference_pb2.Sampling(logit_bias={1: NAN})}, "sampling.logit_bias"),
    ({"sampling": inference_pb2.Sampling(logit_bias=dict.fromkeys(range(1025), 1.0))}, "sampling.logit_bias"),
    ({"max_new_tokens": 3, "min_new_tokens": 4}, "min_new_tokens"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stop": ["a" * 257]}, "stop[0]"),
    ({"stop_token_ids": range(65)}, "stop_token_ids"),
    ({"logprobs": 21}, "logprobs"),
]


def build(method: str, checkpoint: str = "known", texts: list[str] | None = None, **fields: Any) -> Any:
    noun = method.removeprefix("Stream")
    inputs = [
        getattr(inference_pb2, f"{noun}Input")(text=text) for text in (["ab"] if texts is None else texts)
    ]
    return getattr(inference_pb2, f"{method}Request")(checkpoint=checkpoint, inputs=inputs, **fields)


@pytest.mark.parametrize("method", UNARY + STREAMED)
async def test_every_bad_field_is_named(rig: Rig, method: str) -> None:
    cases = BAD_FIELDS + ([] if method == "Classify" else BAD_GENERATION_FIELDS)
    for fields, name in cases:
        refusal = await refused(getattr(rig.stub, method)(build(method, **fields)))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, fields
        assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", [name]), fields
    assert rig.inference.calls == []


async def test_what_serving_gets_of_a_classify_request(rig: Rig) -> None:
    request = build("Classify", "known@live", ["a", "ü\x00"], top_k=3, priority=inference_pb2.PRIORITY_HIGH)
    await rig.stub.Classify(request, timeout=30)
    (call,) = rig.inference.calls
    assert 0 < call.pop("timeout") < 31  # gRPC rounds a timeout up on its way
    assert call == {
        "reference": "known@live",
        "texts": ["a", "ü\x00"],
        "top_k": 3,
        "priority": 3,
        "caller": "ipv4:127.0.0.1",
    }


async def test_a_call_without_a_deadline_leaves_the_time_to_serving(rig: Rig) -> None:
    await rig.stub.Classify(build("Classify"))
    assert rig.inference.calls[0]["timeout"] is None


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 2), ({"priority": 1}, 1), ({"priority": 2}, 2), ({"priority": 3}, 3)]
)
async def test_priorities(rig: Rig, given: dict[str, Any], expected: int) -> None:
    await rig.stub.Classify(build("Classify", **given))
    assert rig.inference.calls[0]["priority"] == expected


@pytest.mark.parametrize("method", UNARY[1:] + STREAMED)
async def test_what_serving_gets_of_a_generation_request(rig: Rig, method: str) -> None:
    sampling = inference_pb2.Sampling(temperature=0.5, top_p=0.25, top_k=7, seed=2**64 - 1)
    call = getattr(rig.stub, method)(build(method, max_new_tokens=9, sampling=sampling))
    if method in STREAMED:
        async for _ in call:
            pass
    else:
        await call
    (asked,) = rig.inference.calls
    assert asked["task"] is (Task.TRANSLATION if "Translate" in method else Task.GENERATION)
    assert asked["sampling"] == Sampling(0.5, 0.25, 7, 2**64 - 1)
    assert (asked["max_new_tokens"], asked["stopping"], asked["logprobs"]) == (9, Stopping(), None)


@pytest.mark.parametrize("method", UNARY[1:] + STREAMED)
async def test_every_control_reaches_serving(rig: Rig, method: str) -> None:
    sampling = inference_pb2.Sampling(
        seed=3,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-0.5,
        frequency_penalty=0.75,
        no_repeat_ngram_size=3,
        logit_bias={7: -100.0, 0: 0.5},
    )
    fields: dict[str, Any] = {
        "min_new_tokens": 2,
        "stop": ["\n", "é"],
        "stop_token_ids": [4, 0],
        "logprobs": 0,
    }
    call = getattr(rig.stub, method)(build(method, sampling=sampling, **fields))
    if method in STREAMED:
        async for _ in call:
            pass
    else:
        await call
    (asked,) = rig.inference.calls
    assert asked["sampling"] == Sampling(
        seed=3,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-0.5,
        frequency_penalty=0.75,
        no_repeat_ngram_size=3,
        logit_bias={7: -100.0, 0: 0.5},
    )
    assert asked["stopping"] == Stopping(2, ("\n", "é"), (4, 0))
    assert asked["logprobs"] == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"split": 0}, True), ({"split": 1}, True), ({"split": 2}, False)],
)
async def test_how_a_text_is_split(rig: Rig, given: dict[str, Any], expected: bool) -> None:
    await rig.stub.Translate(build("Translate", **given))
    async for _ in rig.stub.StreamTranslate(build("StreamTranslate", **given)):
        pass
    assert [asked["split"] for asked in rig.inference.calls] == [expected, expected]
    refusal = await refused(rig.stub.Translate(build("Translate", split=3)))
    assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", ["split"])


async def test_unset_is_told_from_zero(rig: Rig) -> None:
    sampling = inference_pb2.Sampling(temperature=0.0, top_k=0, seed=0)
    await rig.stub.Generate(build("Generate", sampling=sampling))
    await rig.stub.Generate(build("Generate"))
    await rig.stub.Generate(build("Generate"))
    zero, unset, again = rig.inference.calls
    assert zero["sampling"] == Sampling(seed=0)
    assert unset["max_new_tokens"] is None
    assert unset["sampling"].greedy
    seeds = {unset["sampling"].seed, again["sampling"].seed}
    assert len(seeds) == 2, "the server's own seeds differ"
    assert all(0 <= seed < 2**63 for seed in seeds)


async def test_registering_names_its_bad_fields(rig: Rig) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"path": ""}, "path"),
        ({"task": 99}, "task"),
        ({"precision": 99}, "precision"),
        ({"gate": 99}, "gate"),
    ]
    for fields, name in cases:
        request = checkpoint_pb2.RegisterCheckpointRequest(**{"name": "known", "path": "/x", **fields})
        refusal = await refused(rig.admin.RegisterCheckpoint(request))
        assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [name])
    assert rig.administration.calls == []
