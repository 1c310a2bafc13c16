"""What goes over the wire and what comes back, for both clients."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.client.either import Either, answer, parts
from tests.unit.client.fake_server import FakeServer
from trine.client import (
    Alternative,
    Classification,
    Delta,
    Generation,
    Hypothesis,
    Label,
    Parity,
    ParityCheck,
    Segment,
    Summary,
    TokenLogprob,
    Translation,
    Usage,
)
from trine.errors import Bug, InvalidInput
from trine.v1 import checkpoint_pb2, inference_pb2

USAGE = Usage(5, 3, 0, 2)
HYPOTHESES = (Hypothesis("best", -0.5, "stop", 3), Hypothesis("next", -0.75, "stop_sequence", 2, 0))


async def test_one_text_gives_one_classification(client: Either, server: FakeServer) -> None:
    labels = (Label("positive", 0.75), Label("negative", 0.25))
    assert await answer(client.classify("sentiment", "good")) == Classification(labels, USAGE, "sentiment:2")
    assert server.requests == [
        inference_pb2.ClassifyRequest(
            checkpoint="sentiment",
            inputs=[inference_pb2.ClassifyInput(text="good")],
            priority=inference_pb2.PRIORITY_NORMAL,
        )
    ]


async def test_a_list_gives_a_list(client: Either, server: FakeServer) -> None:
    found = await answer(client.classify("sentiment", ["a", "b"], top_k=1, priority="high"))
    assert [one.labels for one in found] == [(Label("positive", 0.75),)] * 2
    assert server.requests[0].top_k == 1
    assert server.requests[0].priority == inference_pb2.PRIORITY_HIGH
    assert await answer(client.generate("verse", [])) == []
    assert await answer(client.generate("verse", ("ab",))) == [Generation("ba", "stop", USAGE, "verse:1")]


async def test_generation_sends_only_what_was_given(client: Either, server: FakeServer) -> None:
    assert await answer(client.generate("verse", "abc")) == Generation("cba", "stop", USAGE, "verse:1")
    assert not server.requests[0].HasField("max_new_tokens")
    assert not server.requests[0].HasField("sampling")
    await answer(
        client.generate("verse", "abc", max_new_tokens=7, temperature=0.0, seed=2**64 - 1, top_k=None)
    )
    sampling = server.requests[1].sampling
    assert server.requests[1].max_new_tokens == 7
    assert [field.name for field, _ in sampling.ListFields()] == ["temperature", "seed"]
    assert sampling.seed == 2**64 - 1


async def test_every_control_is_sent(client: Either, server: FakeServer) -> None:
    options = {
        "min_new_tokens": 3,
        "min_p": 0.25,
        "repetition_penalty": 1.5,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.75,
        "no_repeat_ngram_size": 2,
        "logit_bias": {7: -1.5},
        "stop": ["\n", "é"],
        "stop_token_ids": (4, 0),
        "logprobs": 0,
    }
    await answer(client.generate("verse", "abc", **options))
    await parts(client.stream_translate("en-fr", "abc", **options))
    sampling = inference_pb2.Sampling(
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-0.5,
        frequency_penalty=0.75,
        no_repeat_ngram_size=2,
        logit_bias={7: -1.5},
    )
    for request in server.requests:
        assert request.sampling == sampling
        assert (request.min_new_tokens, request.logprobs) == (3, 0)
        assert request.HasField("logprobs")
        assert (list(request.stop), list(request.stop_token_ids)) == (["\n", "é"], [4, 0])


async def test_one_stop_string_needs_no_list(client: Either, server: FakeServer) -> None:
    found = await answer(client.generate("verse", "ab", stop="END"))
    assert (found.finish_reason, found.matched_stop) == ("stop_sequence", "END")
    assert list(server.requests[0].stop) == ["END"]


async def test_a_stop_tells_what_matched(client: Either) -> None:
    found = await answer(client.translate("en-fr", "ab", stop_token_ids=[0]))
    assert (found.finish_reason, found.matched_stop) == ("stop_sequence", 0)
    deltas = await parts(client.stream_generate("verse", "ab", stop=["b"]))
    assert [delta.matched_stop for delta in deltas] == [None, None, "b"]
    assert deltas[-1].finish_reason == "stop_sequence"


async def test_log_probabilities(client: Either) -> None:
    expected = (TokenLogprob(3, "x", -0.5, (Alternative(4, "y", -0.25),)),)
    assert (await answer(client.generate("verse", "ab", logprobs=1))).logprobs == expected
    assert (await answer(client.translate("en-fr", "ab", logprobs=1))).logprobs == expected
    deltas = await parts(client.stream_generate("verse", "ab", logprobs=1))
    assert [delta.logprobs for delta in deltas] == [(), (), expected]
    assert (await answer(client.generate("verse", "ab"))).logprobs == ()


async def test_translation(client: Either, server: FakeServer) -> None:
    found = await answer(client.translate("en-fr", ["abc", "d"], temperature=0.5, top_p=0.25, top_k=4))
    assert found == [Translation("cba", "stop", USAGE, "en-fr:1"), Translation("d", "stop", USAGE, "en-fr:1")]
    sampling = inference_pb2.Sampling(temperature=0.5, top_p=0.25, top_k=4)
    assert server.requests[0].sampling == sampling


async def test_languages(client: Either, server: FakeServer) -> None:
    await answer(client.translate("m2m", ["a", "b"], source_language="en", target_language="fr"))
    await parts(client.stream_translate("m2m", "a", target_language="fr"))
    told = [[(i.source_language, i.target_language) for i in request.inputs] for request in server.requests]
    assert told == [[("en", "fr")] * 2, [("", "fr")]]


async def test_summaries(client: Either, server: FakeServer) -> None:
    found = await answer(client.summarize("news", ["abc", "d"], max_new_tokens=5))
    assert found == [Summary("cba", "stop", USAGE, "news:1"), Summary("d", "stop", USAGE, "news:1")]
    assert server.requests[0].max_new_tokens == 5
    found = await answer(client.summarize("news", "ab", beams=2, n_best=2))
    assert found.hypotheses == HYPOTHESES


async def test_a_conversation(client: Either, server: FakeServer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ab"}]
    assert await answer(client.chat("llama", messages, seed=3)) == Generation("ba", "stop", USAGE, "verse:1")
    assert (await parts(client.stream_chat("llama", messages)))[-1].finish_reason == "stop"
    for request in server.requests:
        (item,) = request.inputs
        assert item.text == ""
        assert [{"role": one.role, "content": one.content} for one in item.messages] == messages
    assert server.requests[0].sampling.seed == 3


@pytest.mark.parametrize(
    "message", [{}, {"role": "user"}, {"content": "x"}, {"role": "u", "content": "x", "name": "y"}]
)
async def test_a_message_has_a_role_and_a_content(client: Either, message: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await answer(client.chat("llama", [{"role": "user", "content": "fine"}, message]))
    assert caught.value.field == "inputs[0].messages[1]"


async def test_beams(client: Either, server: FakeServer) -> None:
    options = {"beams": 4, "length_penalty": 0.0, "early_stopping": "first", "n_best": 2}
    assert (await answer(client.generate("verse", "ab", **options))).hypotheses == HYPOTHESES
    deltas = await parts(client.stream_generate("verse", "ab", **options))
    assert [delta.hypotheses for delta in deltas] == [(), (), HYPOTHESES]
    expected = inference_pb2.BeamSearch(
        beams=4, length_penalty=0.0, early_stopping=inference_pb2.EARLY_STOPPING_FIRST, n_best=2
    )
    assert [request.beam_search for request in server.requests] == [expected, expected]
    await answer(client.generate("verse", "ab", beams=1))
    await answer(client.generate("verse", "ab", n_best=2))
    assert not server.requests[2].HasField("beam_search")
    assert server.requests[3].HasField("beam_search"), "the server says what is missing"


async def test_how_a_text_is_split(client: Either, server: FakeServer) -> None:
    found = await answer(client.translate("en-fr", "ab", split="none"))
    assert found.segments == (Segment(1, 4, 2, 5, "stop"),)
    deltas = await parts(client.stream_translate("en-fr", "ab", split="none"))
    assert [delta.segments for delta in deltas] == [(), (), (Segment(1, 4, 2, 5, "stop"),)]
    assert (await answer(client.translate("en-fr", "ab"))).segments == ()
    asked = [inference_pb2.SPLIT_NONE, inference_pb2.SPLIT_NONE, inference_pb2.SPLIT_SENTENCES]
    assert [request.split for request in server.requests] == asked
    with pytest.raises(InvalidInput) as caught:
        await answer(client.translate("en-fr", "ab", split="words"))
    assert caught.value.field == "split"


@pytest.mark.parametrize("method", ["stream_generate", "stream_translate", "stream_summarize"])
async def test_streams_carry_deltas(client: Either, server: FakeServer, method: str) -> None:
    deltas = await parts(getattr(client, method)("verse", "ab", max_new_tokens=5))
    assert deltas == [
        Delta("b", 0, None, None, "verse:1"),
        Delta("a", 0, None, None, "verse:1"),
        Delta("", 0, "stop", USAGE, "verse:1"),
    ]
    assert server.requests[0].max_new_tokens == 5


async def test_a_finished_stream_stays_finished(client: Either, server: FakeServer) -> None:
    stream = client.stream_generate("verse", "ab")
    assert len(await parts(stream)) == 3
    assert await parts(stream) == []


async def test_registration_ends_with_the_version(client: Either, server: FakeServer) -> None:
    steps = await parts(
        client.register("sentiment", Path("/data/x"), task="classification", precision="fp32", hold=True)
    )
    assert [step.stage for step in steps] == ["read", "export", "verify", "publish", "publish"]
    assert [step.version is None for step in steps] == [True] * 4 + [False]
    assert steps[0].message == "at read"
    assert steps[-1].existing
    assert server.requests == [
        checkpoint_pb2.RegisterCheckpointRequest(
            name="sentiment",
            path="/data/x",
            task=checkpoint_pb2.TASK_CLASSIFICATION,
            precision=checkpoint_pb2.PRECISION_FP32,
            hold=True,
        )
    ]


async def test_a_version_is_converted_whole(client: Either, server: FakeServer) -> None:
    found = await answer(client.get("sentiment"))
    assert (found.name, found.aliases) == ("sentiment", {"live": 2})
    (version,) = found.versions
    assert version.reference == "sentiment:2"
    assert (version.state, version.engine_state) == ("ready", "live")
    assert (version.family, version.task, version.precision) == ("encoder", "classification", "fp32")
    assert version.labels == ("negative", "positive")
    assert version.parity == Parity(True, (ParityCheck("logits", 2.5e-7, 1e-4, False, True, 64),))
    assert version.create_time == datetime.fromtimestamp(1_790_000_000, UTC)
    assert version.load_seconds == 0.25
    assert version.restarts == 1


async def test_the_list_has_all_pages(client: Either, server: FakeServer) -> None:
    assert [found.name for found in await answer(client.list())] == ["alpha", "beta", "gamma"]
    assert [request.page_token for request in server.requests] == ["", "1"]


async def test_load_unload_delete(client: Either, server: FakeServer) -> None:
    assert (await answer(client.load("sentiment"))).engine_state == "live"
    assert (await answer(client.unload("sentiment:2"))).number == 2
    assert await answer(client.delete("sentiment:2")) is None
    assert server.requests == [
        checkpoint_pb2.LoadCheckpointRequest(checkpoint="sentiment"),
        checkpoint_pb2.UnloadCheckpointRequest(checkpoint="sentiment:2"),
        checkpoint_pb2.DeleteCheckpointRequest(checkpoint="sentiment:2"),
    ]


async def test_health(client: Either) -> None:
    assert await answer(client.health()) == "serving"
    assert await answer(client.health("broken")) == "not-serving"


@pytest.mark.parametrize(
    ("field", "method", "texts", "options"),
    [
        ("inputs[1].text", "classify", ["fine", "\ud800"], {}),
        ("top_k", "classify", "x", {"top_k": -1}),
        ("priority", "classify", "x", {"priority": "urgent"}),
        ("sampling.top_k", "generate", "x", {"top_k": 2**32}),
        ("sampling.seed", "stream_generate", "x", {"seed": -1}),
        ("max_new_tokens", "translate", "x", {"max_new_tokens": -1}),
        ("min_new_tokens", "generate", "x", {"min_new_tokens": 2**32}),
        ("logprobs", "translate", "x", {"logprobs": -1}),
        ("sampling.no_repeat_ngram_size", "generate", "x", {"no_repeat_ngram_size": -1}),
        ("sampling.logit_bias", "generate", "x", {"logit_bias": {-1: 0.5}}),
        ("stop_token_ids", "stream_translate", "x", {"stop_token_ids": [1, -1]}),
        ("stop[1]", "generate", "x", {"stop": ["fine", "\ud800"]}),
        ("beam_search.beams", "generate", "x", {"beams": -1}),
        ("beam_search.n_best", "summarize", "x", {"beams": 2, "n_best": -1}),
        ("beam_search.early_stopping", "translate", "x", {"beams": 2, "early_stopping": "soon"}),
        ("inputs[0].messages[0]", "chat", [{"role": "user", "content": "\ud800"}], {}),
        ("task", "register", "/x", {"task": "cooking"}),
    ],
)
async def test_what_the_wire_cannot_carry_is_refused_by_name(
    client: Either, server: FakeServer, field: str, method: str, texts: object, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await answer(getattr(client, method)("name", texts, **options))
    assert caught.value.field == field
    assert server.requests == []


async def test_an_option_that_does_not_exist(client: Either) -> None:
    with pytest.raises(TypeError, match="num_beams"):
        await answer(client.generate("verse", "x", num_beams=4))


async def test_a_missing_answer_is_a_bug(client: Either, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trine.client.answers.generations", lambda response: [])
    with pytest.raises(Bug, match="0 answers to 1 inputs"):
        await answer(client.generate("verse", "x"))
