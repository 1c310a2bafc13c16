"""What classify, classify_tokens, embed and their streams answer: responses turned into frozen values. Pure functions, any thread."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Generic, TypeVar

from trine.client.answers import Usage, usage_of
from trine.client.failures import failure_of
from trine.errors import Bug, TrineError
from trine.v1 import inference_pb2 as pb

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    score: float
    """Probability, 0 to 1; with raw scores the logit."""


@dataclass(frozen=True, slots=True)
class Classification:
    labels: tuple[Label, ...]
    """Best first."""
    usage: Usage
    checkpoint: str
    """The version that answered, NAME:VERSION."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of the text: `text[begin:end]`."""

    label: str
    score: float
    """Probability, 0 to 1."""
    text: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenClassification:
    entities: tuple[Entity, ...]
    """In the order of the text."""
    usage: Usage
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Embedding:
    values: array[float]
    """float32; numpy.asarray and torch.frombuffer take it without a copy."""
    usage: Usage
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_Answer]):
    """What became of one input of a stream: an answer, or an error that is its own."""

    index: int
    """Which of the inputs, from 0 in the order in which they were sent."""
    answer: _Answer | None
    error: TrineError | None = None

    @property
    def result(self) -> _Answer:
        """The answer. Raises the error where there is none."""
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise Bug("the server sent neither an answer nor an error")
        return self.answer


def classifications(response: pb.ClassifyResponse) -> list[Classification]:
    return [_classification(result, response.checkpoint) for result in response.results]


def token_classifications(response: pb.ClassifyTokensResponse) -> list[TokenClassification]:
    return [_token_classification(result, response.checkpoint) for result in response.results]


def embeddings(response: pb.EmbedResponse) -> list[Embedding]:
    return [_embedding(result, response.checkpoint) for result in response.results]


def classified(response: pb.StreamClassifyResponse) -> Outcome[Classification]:
    if response.HasField("error"):
        return Outcome(int(response.id), None, failure_of(response.error))
    return Outcome(int(response.id), _classification(response.result, response.checkpoint))


def tagged(response: pb.StreamClassifyTokensResponse) -> Outcome[TokenClassification]:
    if response.HasField("error"):
        return Outcome(int(response.id), None, failure_of(response.error))
    return Outcome(int(response.id), _token_classification(response.result, response.checkpoint))


def embedded(response: pb.StreamEmbedResponse) -> Outcome[Embedding]:
    if response.HasField("error"):
        return Outcome(int(response.id), None, failure_of(response.error))
    return Outcome(int(response.id), _embedding(response.result, response.checkpoint))


def _classification(result: pb.Classification, checkpoint: str) -> Classification:
    labels = tuple(Label(label.name, label.score) for label in result.labels)
    return Classification(labels, usage_of(result.usage), checkpoint)


def _token_classification(result: pb.TokenClassification, checkpoint: str) -> TokenClassification:
    entities = tuple(Entity(one.label, one.score, one.text, one.begin, one.end) for one in result.entities)
    return TokenClassification(entities, usage_of(result.usage), checkpoint)


def _embedding(result: pb.Embedding, checkpoint: str) -> Embedding:
    values = array("f", result.packed)
    if sys.byteorder == "big":
        values.byteswap()
    return Embedding(values, usage_of(result.usage), checkpoint)
