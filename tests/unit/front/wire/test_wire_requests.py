"""What arrives: bytes that are no request, fields out of range, and what serving gets of a good one."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused, settings
from trine import frames, sampling
from trine.artifact import Task
from trine.front.serving.reading import Classifying
from trine.sampling import Decoding, Sampling, Stopping
from trine.v1 import checkpoint_pb2, inference_pb2

INFERENCE = "/trine.v1.InferenceService"
INVALID_UTF8 = b"\x0a\x02\xff\xfe"  # field 1, the checkpoint, is no UTF-8
TRUNCATED = b"\x0a\x7fabc"  # says 127 bytes, has three
BAD_TAG = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

UNARY = ["Classify", "Generate", "Translate", "Summarize"]
STREAMED = ["StreamGenerate", "StreamTranslate", "StreamSummarize"]


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
BeamSearch = inference_pb2.BeamSearch
BEAMS: dict[str, Any] = {"beam_search": BeamSearch(beams=2)}
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
    ({"beam_search": BeamSearch()}, "beam_search.beams"),
    ({"beam_search": BeamSearch(beams=1)}, "beam_search.beams"),
    ({"beam_search": BeamSearch(beams=17)}, "beam_search.beams"),
    ({"beam_search": BeamSearch(beams=2, length_penalty=NAN)}, "beam_search.length_penalty"),
    ({"beam_search": BeamSearch(beams=2, length_penalty=-10.5)}, "beam_search.length_penalty"),
    ({"beam_search": BeamSearch(beams=2, early_stopping=9)}, "beam_search.early_stopping"),  # type: ignore[arg-type]
    ({"beam_search": BeamSearch(beams=2, n_best=3)}, "beam_search.n_best"),
    ({"beam_search": BeamSearch(beams=2, n_best=0)}, "beam_search.n_best"),
    ({**BEAMS, "sampling": inference_pb2.Sampling(temperature=0.5)}, "sampling.temperature"),
    ({**BEAMS, "stop": ["a"]}, "stop"),
    ({**BEAMS, "logprobs": 0}, "logprobs"),
]


def chat(*turns: tuple[str, str], text: str = "") -> inference_pb2.GenerateInput:
    messages = [inference_pb2.Message(role=role, content=content) for role, content in turns]
    return inference_pb2.GenerateInput(text=text, messages=messages)


BAD_CONVERSATIONS: list[tuple[inference_pb2.GenerateInput, str]] = [
    (chat(), "inputs[1].text"),
    (chat(("user", "Hi"), text="Hi"), "inputs[1].messages"),
    (chat(*[("user", "Hi")] * 257), "inputs[1].messages"),
    (chat(("user", "Hi"), ("", "Hi")), "inputs[1].messages[1].role"),
    (chat(("us er", "Hi")), "inputs[1].messages[0].role"),
    (chat(("user\n", "Hi")), "inputs[1].messages[0].role"),
    (chat(("u" * 33, "Hi")), "inputs[1].messages[0].role"),
]


def build(method: str, checkpoint: str = "known", texts: list[str] | None = None, **fields: Any) -> Any:
    if "inputs" not in fields:
        kind = getattr(inference_pb2, f"{method.removeprefix('Stream')}Input")
        fields["inputs"] = [kind(text=text) for text in (["ab"] if texts is None else texts)]
    return getattr(inference_pb2, f"{method}Request")(checkpoint=checkpoint, **fields)


@pytest.mark.parametrize("method", UNARY + STREAMED)
async def test_every_bad_field_is_named(rig: Rig, method: str) -> None:
    cases = BAD_FIELDS + ([] if method == "Classify" else BAD_GENERATION_FIELDS)
    for fields, name in cases:
        refusal = await refused(getattr(rig.stub, method)(build(method, **fields)))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, fields
        assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", [name]), fields
    assert rig.inference.calls == []


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_every_bad_conversation_is_named(rig: Rig, method: str) -> None:
    for item, name in BAD_CONVERSATIONS:
        refusal = await refused(getattr(rig.stub, method)(build(method, inputs=[chat(("user", "x")), item])))
        assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", [name])
    assert rig.inference.calls == []


@pytest.mark.parametrize("method", ["Translate", "StreamTranslate"])
@pytest.mark.parametrize("name", ["source_language", "target_language"])
async def test_a_language_is_a_short_word(rig: Rig, method: str, name: str) -> None:
    inputs = [
        inference_pb2.TranslateInput(text="a"),
        inference_pb2.TranslateInput(text="a", **{name: "x" * 33}),
    ]
    refusal = await refused(getattr(rig.stub, method)(build(method, inputs=inputs)))
    assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", [f"inputs[1].{name}"])


async def test_what_serving_gets_of_conversations_and_languages(rig: Rig) -> None:
    turns = [("system", "Be brief."), ("user", "")]
    await rig.stub.Generate(build("Generate", inputs=[chat(text="a"), chat(*turns)]))
    await rig.stub.Translate(
        build(
            "Translate",
            inputs=[
                inference_pb2.TranslateInput(text="a", target_language="fr"),
                inference_pb2.TranslateInput(text="b"),
            ],
        )
    )
    await rig.stub.Summarize(build("Summarize"))
    chatting, translating, plain = (call["writing"] for call in rig.inference.calls)
    assert chatting.texts == ["a", ""]
    assert chatting.conversations == [[], [frames.Message(*turn) for turn in turns]]
    assert translating.directions == [frames.Direction(target="fr"), frames.Direction()]
    assert (plain.conversations, plain.directions) == ([], [])


@pytest.mark.parametrize("method", UNARY[1:] + STREAMED)
async def test_a_beam_search_reaches_serving_and_its_texts_come_back(rig: Rig, method: str) -> None:
    beams = BeamSearch(
        beams=4, length_penalty=0.0, n_best=2, early_stopping=inference_pb2.EARLY_STOPPING_FIRST
    )
    call = getattr(rig.stub, method)(build(method, beam_search=beams))
    (answer,) = [part async for part in call][-1:] if method in STREAMED else (await call).results
    (asked,) = rig.inference.calls
    assert asked["writing"].decoding.beam_search == sampling.BeamSearch(4, 0.0, "first", 2)
    told = answer.segments[0].hypotheses if "Translate" in method else answer.hypotheses
    assert [(one.text, one.score, one.output_tokens) for one in told] == [
        ("best", -0.5, 3),
        ("next", -0.75, 2),
    ]
    assert [one.HasField("stop_token_id") for one in told] == [False, True]


async def test_what_serving_gets_of_a_classify_request(rig: Rig) -> None:
    request = build("Classify", "known@live", ["a", "ü\x00"], top_k=3, priority=inference_pb2.PRIORITY_HIGH)
    await rig.stub.Classify(request, timeout=30)
    (call,) = rig.inference.calls
    caller = call.pop("caller")
    assert (caller.name, caller.priority) == ("ipv4:127.0.0.1", 3)
    assert 0 < caller.timeout < 31  # gRPC rounds a timeout up on its way
    assert call == {
        "reference": "known@live",
        "texts": ["a", "ü\x00"],
        "reading": Classifying(texts=["a", "ü\x00"], top_k=3),
    }


async def test_a_call_without_a_deadline_leaves_the_time_to_serving(rig: Rig) -> None:
    await rig.stub.Classify(build("Classify"))
    assert rig.inference.calls[0]["caller"].timeout is None


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 2), ({"priority": 1}, 1), ({"priority": 2}, 2), ({"priority": 3}, 3)]
)
async def test_priorities(rig: Rig, given: dict[str, Any], expected: int) -> None:
    await rig.stub.Classify(build("Classify", **given))
    assert rig.inference.calls[0]["caller"].priority == expected


@pytest.mark.parametrize("method", UNARY[1:] + STREAMED)
async def test_what_serving_gets_of_a_generation_request(rig: Rig, method: str) -> None:
    given = inference_pb2.Sampling(temperature=0.5, top_p=0.25, top_k=7, seed=2**64 - 1)
    call = getattr(rig.stub, method)(build(method, max_new_tokens=9, sampling=given))
    if method in STREAMED:
        async for _ in call:
            pass
    else:
        await call
    (asked,) = rig.inference.calls
    tasks = {"Generate": Task.GENERATION, "Translate": Task.TRANSLATION, "Summarize": Task.SUMMARIZATION}
    assert asked["writing"].task is tasks[method.removeprefix("Stream")]
    expected = Decoding(Sampling(0.5, 0.25, 7, 2**64 - 1), Stopping(), 9)
    assert asked["writing"].decoding == expected


@pytest.mark.parametrize("method", UNARY[1:] + STREAMED)
async def test_every_control_reaches_serving(rig: Rig, method: str) -> None:
    given = inference_pb2.Sampling(
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
    call = getattr(rig.stub, method)(build(method, sampling=given, **fields))
    if method in STREAMED:
        async for _ in call:
            pass
    else:
        await call
    (asked,) = rig.inference.calls
    decoding = asked["writing"].decoding
    assert decoding.sampling == Sampling(
        seed=3,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-0.5,
        frequency_penalty=0.75,
        no_repeat_ngram_size=3,
        logit_bias={7: -100.0, 0: 0.5},
    )
    assert decoding.stopping == Stopping(2, ("\n", "é"), (4, 0))
    assert decoding.logprobs == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, True), ({"split": 0}, True), ({"split": 1}, True), ({"split": 2}, False)],
)
async def test_how_a_text_is_split(rig: Rig, given: dict[str, Any], expected: bool) -> None:
    await rig.stub.Translate(build("Translate", **given))
    async for _ in rig.stub.StreamTranslate(build("StreamTranslate", **given)):
        pass
    assert [asked["writing"].split for asked in rig.inference.calls] == [expected, expected]
    refusal = await refused(rig.stub.Translate(build("Translate", split=3)))
    assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", ["split"])


async def test_unset_is_told_from_zero(rig: Rig) -> None:
    given = inference_pb2.Sampling(temperature=0.0, top_k=0, seed=0)
    await rig.stub.Generate(build("Generate", sampling=given))
    await rig.stub.Generate(build("Generate"))
    await rig.stub.Generate(build("Generate"))
    zero, unset, again = (call["writing"].decoding for call in rig.inference.calls)
    assert zero.sampling == Sampling(seed=0)
    assert (unset.max_new_tokens, unset.beam_search) == (None, None)
    assert unset.sampling.greedy
    seeds = {unset.sampling.seed, again.sampling.seed}
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
