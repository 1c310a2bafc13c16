"""Classification, token classification and embedding, between protobuf and serving. Front process, event loop only."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from trine import frames
from trine.errors import InvalidInput
from trine.front.serving.reading import Classifying, Embedding, Reading, Tagging
from trine.front.wire.generation import usage
from trine.v1 import inference_pb2

ClassifyRequest = inference_pb2.ClassifyRequest | inference_pb2.StreamClassifyRequest
ClassifyTokensRequest = inference_pb2.ClassifyTokensRequest | inference_pb2.StreamClassifyTokensRequest
EmbedRequest = inference_pb2.EmbedRequest | inference_pb2.StreamEmbedRequest
Request = ClassifyRequest | ClassifyTokensRequest | EmbedRequest

R = TypeVar("R")
S = TypeVar(
    "S",
    inference_pb2.StreamClassifyRequest,
    inference_pb2.StreamClassifyTokensRequest,
    inference_pb2.StreamEmbedRequest,
)
A = TypeVar("A", bound=Message)

_AGGREGATIONS: dict[int, frames.Aggregation] = {
    inference_pb2.AGGREGATION_UNSPECIFIED: "simple",
    inference_pb2.AGGREGATION_NONE: "none",
    inference_pb2.AGGREGATION_SIMPLE: "simple",
    inference_pb2.AGGREGATION_FIRST: "first",
    inference_pb2.AGGREGATION_AVERAGE: "average",
    inference_pb2.AGGREGATION_MAX: "max",
}
_FORMATS = frozenset(inference_pb2.VectorFormat.values())


# --- requests: raise InvalidInput that names the field ---------------------------------------------------------------------------


def classifying(request: ClassifyRequest, inputs: Sequence[inference_pb2.ClassifyInput]) -> Classifying:
    return Classifying(
        texts=[item.text for item in inputs],
        windows=_windows(request),
        top_k=request.top_k,
        pairs=_pairs(inputs),
        raw_scores=request.raw_scores,
    )


def tagging(request: ClassifyTokensRequest, inputs: Sequence[inference_pb2.ClassifyTokensInput]) -> Tagging:
    if request.aggregation not in _AGGREGATIONS:
        raise InvalidInput(f"{request.aggregation} is no aggregation", field="aggregation")
    return Tagging(
        texts=[item.text for item in inputs],
        windows=_windows(request),
        aggregation=_AGGREGATIONS[request.aggregation],
    )


def embedding(request: EmbedRequest, inputs: Sequence[inference_pb2.EmbedInput]) -> Embedding:
    if request.format not in _FORMATS:
        raise InvalidInput(f"{request.format} is no format", field="format")
    return Embedding(
        texts=[item.text for item in inputs],
        windows=_windows(request),
        normalize=request.normalize if request.HasField("normalize") else None,
        dimensions=request.dimensions,
    )


def _pairs(inputs: Sequence[inference_pb2.ClassifyInput]) -> list[str | None]:
    pairs = [item.text_pair if item.HasField("text_pair") else None for item in inputs]
    if "" in pairs:
        raise InvalidInput("text_pair must not be empty", field=f"inputs[{pairs.index('')}].text_pair")
    return pairs if any(pairs) else []


def _windows(request: Request) -> frames.Windows | None:
    if not request.HasField("windows"):
        return None
    return frames.Windows(request.windows.overlap if request.windows.HasField("overlap") else None)


# --- answers -----------------------------------------------------------------------------------------------------------------


def classification(result: frames.Classified) -> inference_pb2.Classification:
    labels = [inference_pb2.Label(name=name, score=score) for name, score in result.labels]
    return inference_pb2.Classification(labels=labels, usage=usage(result.usage))


def token_classification(result: frames.Tagged) -> inference_pb2.TokenClassification:
    entities = [
        inference_pb2.Entity(label=one.label, score=one.score, text=one.text, begin=one.begin, end=one.end)
        for one in result.entities
    ]
    return inference_pb2.TokenClassification(entities=entities, usage=usage(result.usage))


def vector(result: frames.Embedded, format: inference_pb2.VectorFormat.ValueType) -> inference_pb2.Embedding:
    if format == inference_pb2.VECTOR_FORMAT_PACKED:
        return inference_pb2.Embedding(packed=result.values, usage=usage(result.usage))
    values = array("f", result.values)
    if sys.byteorder == "big":
        values.byteswap()
    return inference_pb2.Embedding(values=values, usage=usage(result.usage))


# --- streams -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Streaming(Generic[S, R, A]):
    """What tells one stream in both directions from another."""

    work: Callable[[S], Reading[R]]
    result: Callable[[S, R], Message]
    """The response's `result`."""
    response: Callable[..., A]


CLASSIFYING = Streaming[
    inference_pb2.StreamClassifyRequest, frames.Classified, inference_pb2.StreamClassifyResponse
](
    lambda request: classifying(request, [request.input]),
    lambda _, result: classification(result),
    inference_pb2.StreamClassifyResponse,
)
TAGGING = Streaming[
    inference_pb2.StreamClassifyTokensRequest, frames.Tagged, inference_pb2.StreamClassifyTokensResponse
](
    lambda request: tagging(request, [request.input]),
    lambda _, result: token_classification(result),
    inference_pb2.StreamClassifyTokensResponse,
)
EMBEDDING = Streaming[inference_pb2.StreamEmbedRequest, frames.Embedded, inference_pb2.StreamEmbedResponse](
    lambda request: embedding(request, [request.input]),
    lambda request, result: vector(result, request.format),
    inference_pb2.StreamEmbedResponse,
)
