"""Classify, ClassifyTokens and Embed: what serving gets of a request, and what the caller gets of an answer."""

from __future__ import annotations

import struct
from typing import Any

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused
from trine import frames
from trine.front.serving.reading import Classifying, Embedding, Tagging
from trine.v1 import inference_pb2 as pb

METHODS = ["Classify", "ClassifyTokens", "Embed"]
USAGE = pb.Usage(input_tokens=5, output_tokens=2)


def build(method: str, *texts: str, **fields: Any) -> Any:
    make = getattr(pb, f"{method}Input")
    given = {"checkpoint": "known", "inputs": [make(text=text) for text in texts or ("ab",)], **fields}
    return getattr(pb, f"{method}Request")(**given)


async def asked(rig: Rig, method: str, **fields: Any) -> Any:
    """What serving got of a request."""
    await getattr(rig.stub, method)(build(method, **fields))
    return rig.inference.calls.pop()["reading"]


async def test_defaults(rig: Rig) -> None:
    assert await asked(rig, "Classify") == Classifying(texts=["ab"])
    assert await asked(rig, "ClassifyTokens") == Tagging(texts=["ab"], aggregation="simple")
    assert await asked(rig, "Embed") == Embedding(texts=["ab"])


@pytest.mark.parametrize("method", METHODS)
async def test_windows(rig: Rig, method: str) -> None:
    for given, expected in [
        (None, None),
        (pb.Windows(), frames.Windows()),
        (pb.Windows(overlap=0), frames.Windows(0)),
    ]:
        assert (await asked(rig, method, windows=given)).windows == expected


async def test_pairs_and_raw_scores(rig: Rig) -> None:
    inputs = [pb.ClassifyInput(text="a"), pb.ClassifyInput(text="b", text_pair="c")]
    found = await asked(rig, "Classify", inputs=inputs, raw_scores=True, top_k=2)
    assert found == Classifying(texts=["a", "b"], pairs=[None, "c"], raw_scores=True, top_k=2)


async def test_aggregations(rig: Rig) -> None:
    names = ["simple", "none", "simple", "first", "average", "max"]
    found = [(await asked(rig, "ClassifyTokens", aggregation=n)).aggregation for n in range(6)]
    assert found == names


async def test_unset_is_told_from_false(rig: Rig) -> None:
    assert (await asked(rig, "Embed", normalize=False)).normalize is False
    assert (await asked(rig, "Embed", normalize=True, dimensions=9)).dimensions == 9


BAD: list[tuple[str, dict[str, Any], str]] = [
    *((method, {"checkpoint": ""}, "checkpoint") for method in METHODS),
    *((method, {"inputs": []}, "inputs") for method in METHODS),
    *((method, {"priority": 9}, "priority") for method in METHODS),
    (
        "ClassifyTokens",
        {"inputs": [pb.ClassifyTokensInput(text="a"), pb.ClassifyTokensInput()]},
        "inputs[1].text",
    ),
    ("Embed", {"inputs": [pb.EmbedInput()]}, "inputs[0].text"),
    ("Classify", {"inputs": [pb.ClassifyInput(text="a", text_pair="")]}, "inputs[0].text_pair"),
    ("ClassifyTokens", {"aggregation": 6}, "aggregation"),
    ("Embed", {"format": 3}, "format"),
]


@pytest.mark.parametrize(("method", "fields", "name"), BAD)
async def test_every_bad_field_is_named(rig: Rig, method: str, fields: dict[str, Any], name: str) -> None:
    refusal = await refused(getattr(rig.stub, method)(build(method, **fields)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.info.reason, refusal.fields) == ("INVALID_INPUT", [name])
    assert rig.inference.calls == []


async def test_entities(rig: Rig) -> None:
    answer = await rig.stub.ClassifyTokens(build("ClassifyTokens", "x", "yz"))
    entities = [pb.Entity(label=text, text=text, score=0.5, begin=2, end=4) for text in ("x", "yz")]
    results = [pb.TokenClassification(entities=[one], usage=USAGE) for one in entities]
    assert answer == pb.ClassifyTokensResponse(checkpoint="known:1", results=results)


@pytest.mark.parametrize("format", [0, 1, 2])
async def test_embeddings(rig: Rig, format: int) -> None:
    answer = await rig.stub.Embed(build("Embed", "x", "yz", format=format))
    assert [one.usage for one in answer.results] == [USAGE] * 2
    values = [list(one.values) for one in answer.results]
    packed = [one.packed for one in answer.results]
    if format == pb.VECTOR_FORMAT_PACKED:
        assert (values, packed) == ([[], []], [struct.pack("<ff", 1, -0.5), struct.pack("<ff", 2, -0.5)])
    else:
        assert (values, packed) == ([[1.0, -0.5], [2.0, -0.5]], [b"", b""])
