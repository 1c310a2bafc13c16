"""classify, classify_tokens, embed and their streams, for both clients: what goes over the wire and what comes back."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.unit.client.either import Either, answer, parts
from tests.unit.client.fake_server import FakeServer, retry_after, status, violation
from trine.client import Client, Embedding, Entity, Label, Outcome, TokenClassification, Usage
from trine.errors import Bug, Draining, InvalidInput, Overloaded
from trine.v1 import inference_pb2 as pb

USAGE = Usage(5, 3, 0, 2)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
STREAMS = ["stream_classify", "stream_classify_tokens", "stream_embed"]


async def test_a_pair_and_every_option(client: Either, server: FakeServer) -> None:
    await answer(client.classify("nli", "a", text_pairs="b", raw_scores=True, windows=True, overlap=0))
    await answer(client.classify("nli", ["a", "b"], text_pairs=[None, "c"], windows=True))
    one, two = server.requests
    assert list(one.inputs) == [pb.ClassifyInput(text="a", text_pair="b")]
    assert (one.raw_scores, one.windows) == (True, pb.Windows(overlap=0))
    assert list(two.inputs) == [pb.ClassifyInput(text="a"), pb.ClassifyInput(text="b", text_pair="c")]
    assert (two.raw_scores, two.HasField("windows"), two.windows.HasField("overlap")) == (False, True, False)


async def test_entities(client: Either, server: FakeServer) -> None:
    entities = (Entity("PER", 0.5, "Zoë", 0, 3),)
    found = await answer(client.classify_tokens("ner", ["Zoë in Rome"], aggregation="average"))
    assert found == [TokenClassification(entities, USAGE, "ner:1")]
    assert server.requests == [
        pb.ClassifyTokensRequest(
            checkpoint="ner",
            inputs=[pb.ClassifyTokensInput(text="Zoë in Rome")],
            priority=pb.PRIORITY_NORMAL,
            aggregation=pb.AGGREGATION_AVERAGE,
        )
    ]
    await answer(client.classify_tokens("ner", "x"))
    assert server.requests[1].aggregation == pb.AGGREGATION_SIMPLE


async def test_embeddings(client: Either, server: FakeServer) -> None:
    assert await answer(client.embed("mini", "ab")) == Embedding(array("f", [2.0, -0.5]), USAGE, "mini:1")
    await answer(client.embed("mini", ["ab"], normalize=False, dimensions=3, priority="low"))
    unset, given = server.requests
    assert unset.format == pb.VECTOR_FORMAT_PACKED
    assert not unset.HasField("normalize")
    assert (given.HasField("normalize"), given.normalize, given.dimensions) == (True, False, 3)
    assert given.priority == pb.PRIORITY_LOW


BAD: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda c: c.classify("a", "x", top_k=-1), InvalidInput, "top_k"),
    (lambda c: c.classify("a", "x", text_pairs=["y", "z"]), InvalidInput, "inputs"),
    (lambda c: c.classify("a", ["x", "y"], text_pairs=["y", "\ud83d"]), InvalidInput, "inputs[1].text_pair"),
    (lambda c: c.classify_tokens("a", "x", aggregation="best"), InvalidInput, "aggregation"),
    (lambda c: c.classify_tokens("a", ["x", "\ud83d"]), InvalidInput, "inputs[1].text"),
    (lambda c: c.embed("a", "x", dimensions=2**32), InvalidInput, "dimensions"),
    (lambda c: c.embed("a", "x", overlap=3), InvalidInput, "windows.overlap"),
    (lambda c: c.embed("a", "x", windows=True, overlap=-1), InvalidInput, "windows.overlap"),
    (lambda c: c.embed("a", "x", priority="first"), InvalidInput, "priority"),
    (lambda c: c.embed("a", "x", top_k=3), TypeError, ""),
    (lambda c: c.classify("a", "x", dimensions=3), TypeError, ""),
    (lambda c: c.stream_embed("a", ["x"], top_k=3), TypeError, ""),
    (lambda c: c.stream_classify("a", ["x"], top_k=-1), InvalidInput, "top_k"),
]


@pytest.mark.parametrize(("call", "error", "field"), BAD)
async def test_what_the_wire_could_not_carry(
    client: Either, server: FakeServer, call: Callable[[Any], Any], error: type[Exception], field: str
) -> None:
    with pytest.raises(error) as caught:
        await answer(call(client))
    assert getattr(caught.value, "field", "") == field
    assert server.requests == []


async def test_a_stream_of_each_kind(client: Either, server: FakeServer) -> None:
    """Outcomes in any order, each with its input's number."""
    texts = ["a", "bb", "ccc"]
    labels = await parts(client.stream_classify("any", texts, top_k=3))
    assert [one.index for one in labels] == [1, 0, 2]
    assert [one.result.labels for one in labels] == [(Label(text, 0.5),) for text in ("bb", "a", "ccc")]
    tagged = await parts(client.stream_classify_tokens("any", iter(texts), aggregation="none", windows=True))
    assert tagged[0].result == TokenClassification((Entity("PER", 0.5, "bb", 0, 2),), USAGE, "any:1")
    vectors = await parts(client.stream_embed("any", (text for text in texts), normalize=True))
    assert [one.result.values[0] for one in vectors] == [2.0, 1.0, 3.0]
    asked = server.requests
    assert [request.id for request in asked] == ["0", "1", "2"] * 3
    assert {request.checkpoint for request in asked} == {"any"}
    assert all(request.top_k == 3 for request in asked[:3])
    assert all(
        request.aggregation == pb.AGGREGATION_NONE and request.HasField("windows") for request in asked[3:6]
    )
    assert all(request.normalize and request.format == pb.VECTOR_FORMAT_PACKED for request in asked[6:])


async def test_a_stream_of_pairs(client: Either, server: FakeServer) -> None:
    assert len(await parts(client.stream_classify("nli", [("a", "b"), "c"]))) == 2
    assert [request.input for request in server.requests] == [
        pb.ClassifyInput(text="a", text_pair="b"),
        pb.ClassifyInput(text="c"),
    ]


@pytest.mark.parametrize("method", STREAMS)
async def test_an_input_that_fails_is_an_outcome(client: Either, server: FakeServer, method: str) -> None:
    server.failures = [
        status(INVALID, "INVALID_INPUT", "too long", violation("input.text")),
        status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "full", retry_after(0.25)),
        status(INVALID, "X", "another's", domain="other"),
    ]
    found = {
        one.index: one for one in await parts(getattr(client, method)("any", ["bad", "a", "bad", "bad"]))
    }
    assert found[1].error is None
    long, full, foreign = (found[index].error for index in (0, 2, 3))
    assert isinstance(long, InvalidInput)
    assert (long.message, long.field) == ("too long", "input.text")
    assert isinstance(full, Overloaded)
    assert full.retry_after == 0.25
    assert isinstance(foreign, Bug)
    with pytest.raises(InvalidInput, match="too long"):
        _ = found[0].result


async def test_a_stream_that_breaks_raises(client: Either, server: FakeServer) -> None:
    server.failures = [status(grpc.StatusCode.UNAVAILABLE, "DRAINING", "stopping", retry_after(1.0))]
    with pytest.raises(Draining, match="stopping"):
        await parts(client.stream_classify("any", ["a", "b", "break"]))


async def test_what_the_source_raises_is_raised_after_the_answers(client: Either) -> None:
    def texts() -> Iterator[str]:
        yield "a"
        yield "b"
        raise RuntimeError("the caller's own")

    found: list[Outcome[Any]] = []
    stream = client.stream_classify("any", texts())
    with pytest.raises(RuntimeError, match="the caller's own"):
        if isinstance(client, Client):
            for one in stream:
                found.append(one)
        else:
            async for one in stream:
                found.append(one)
    assert sorted(one.index for one in found) == [0, 1]


async def test_a_text_that_utf8_cannot_carry_ends_the_stream(client: Either, server: FakeServer) -> None:
    with pytest.raises(InvalidInput, match="not valid Unicode") as caught:
        await parts(client.stream_embed("any", ["a", "\ud83d", "b"]))
    assert caught.value.field == "input.text"
    assert len(server.requests) == 1


async def test_leaving_early_cancels_the_call(client: Either, server: FakeServer) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "a"

    stream = client.stream_classify("any", endless())
    if isinstance(client, Client):
        with stream:
            next(stream)
    else:
        async with stream:
            await anext(stream)
    assert await asyncio.to_thread(server.left.wait, 10)


async def test_an_asynchronous_source(client: Either) -> None:
    async def texts() -> AsyncIterator[str]:
        for text in ("a", "b", "c"):
            await asyncio.sleep(0)
            yield text

    if isinstance(client, Client):
        with pytest.raises(TypeError):
            list(client.stream_embed("any", texts()))
    else:
        assert [one.index for one in await parts(client.stream_embed("any", texts()))] == [1, 0, 2]


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("stream_embed", ("a", "b")),
        ("stream_classify_tokens", ("a", "b")),
        ("stream_classify", ("a", "b", "c")),
        ("stream_classify", ("a",)),
        ("stream_classify", ("a", 3)),
    ],
)
async def test_what_is_no_input_of_a_stream(client: Either, method: str, given: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        await parts(getattr(client, method)("any", [given]))
    assert refused.value.field == "input"
