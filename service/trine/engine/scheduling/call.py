"""One request inside the engine, and one input of it on its way through a scheduler. Engine process, its only thread.

A call is what the front knows by an id; its inputs are scheduled one by one and may run in different batches. The call closes
when its last input is finished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Call:
    """The state that the inputs of one request share. Times are monotonic seconds."""

    id: int
    caller: str
    priority: int
    """1 low, 2 normal, 3 high."""
    deadline: float
    arrived: float
    inputs: int
    """How many inputs the request has."""
    stream: bool = False
    results: dict[int, Any] = field(default_factory=dict)
    """Input index to the task's result for it."""

    def settle(self, index: int, result: object) -> bool:
        """Keep the result of one input; whether it was the last one missing."""
        self.results[index] = result
        return len(self.results) == self.inputs

    def in_order(self) -> list[Any]:
        """The results in the order of the inputs. Only for a call that is settled."""
        return [self.results[index] for index in range(self.inputs)]


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One input of a call. The encoder family needs no more; a generation is a `Sequence`."""

    call: Call
    index: int
    """Its place among the call's inputs."""
    tokens: list[int]
    """What the graph reads: the input, the prompt or the source."""
    types: list[int] | None = None
    """Encoder family: the types of the tokens, where they are not all 0."""
    chunk: int = 0
    """Tokens that it runs in the step that was just chosen."""
    lanes: int = 1
    """In how many rows it runs so many: a beam search in one for each beam."""
    passed: int = 0
    """How many others were taken before it although its turn came first, because it did not fit."""
    started: float | None = None
    """When it ran for the first time."""
    output: Any = None
    """What the encoder's runner made of it; opaque here."""
