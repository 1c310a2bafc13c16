"""What requests of the encoder family want: which frame asks the engine for it, and where its answer has the results. Plain data,
front process.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from trine import frames
from trine.artifact import Task
from trine.front.serving.work import Caller

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(ABC, Generic[R]):
    """Texts to read, with a result of type R for each."""

    task: ClassVar[Task]
    texts: list[str]
    windows: frames.Windows | None = None
    """None refuses texts that are longer than the context."""

    def contents(self) -> list[str]:
        return self.texts

    def field(self, index: int) -> str:
        return f"inputs[{index}].text"

    @abstractmethod
    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit: ...

    @abstractmethod
    def results(self, answer: frames.Answer) -> list[R]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifying(Reading[frames.Classified]):
    """Fields as of frames.Classify."""

    task: ClassVar[Task] = Task.CLASSIFICATION
    top_k: int = 0
    pairs: list[str | None] = dataclasses.field(default_factory=list)
    raw_scores: bool = False

    def contents(self) -> list[str]:
        if not self.pairs:
            return self.texts
        return [text + (pair or "") for text, pair in zip(self.texts, self.pairs, strict=True)]

    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit:
        return frames.Classify(
            number,
            self.texts,
            deadline,
            caller.priority,
            caller.name,
            self.top_k,
            self.pairs,
            self.raw_scores,
            self.windows,
        )

    def results(self, answer: frames.Answer) -> list[frames.Classified]:
        return answer.classified


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging(Reading[frames.Tagged]):
    """Fields as of frames.ClassifyTokens."""

    task: ClassVar[Task] = Task.TOKEN_CLASSIFICATION
    aggregation: frames.Aggregation = "simple"

    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit:
        return frames.ClassifyTokens(
            number, self.texts, deadline, caller.priority, caller.name, self.aggregation, self.windows
        )

    def results(self, answer: frames.Answer) -> list[frames.Tagged]:
        return answer.tagged


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Reading[frames.Embedded]):
    """Fields as of frames.Embed."""

    task: ClassVar[Task] = Task.EMBEDDING
    normalize: bool | None = None
    dimensions: int = 0

    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit:
        return frames.Embed(
            number,
            self.texts,
            deadline,
            caller.priority,
            caller.name,
            self.normalize,
            self.dimensions,
            self.windows,
        )

    def results(self, answer: frames.Answer) -> list[frames.Embedded]:
        return answer.embedded
