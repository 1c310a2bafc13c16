"""What a request asks for, and who asks. Plain data, front process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from trine import frames
from trine.artifact import Task

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, how urgently, and how long they wait."""

    name: str
    """For fairness between callers."""
    priority: int
    """1 low, 2 normal, 3 high."""
    timeout: float | None
    """Seconds; None for the server's default."""


class Work(Protocol[R]):
    """Inputs, with a result of type R for each: `Reading`s and `Writing`."""

    @property
    def task(self) -> Task: ...

    def contents(self) -> list[str]:
        """All that was sent for each input, for whoever counts characters."""

    def field(self, index: int) -> str:
        """How errors name what was sent for an input."""

    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit:
        """What the engine is asked; `deadline` is monotonic seconds."""

    def results(self, answer: frames.Answer) -> list[R]:
        """One for each input."""
