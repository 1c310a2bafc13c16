"""What a version is for: a request's texts become items of a scheduler, and their outputs become the request's answer.

Engine process, its only thread. One module for each task; `inputs` tokenizes for all, `generative` is what generation and
translation share, `draft` a text that is being written.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from trine import frames
from trine.engine.scheduling.call import Call, Item

I = TypeVar("I", bound=Item)  # noqa: E741


class Task(Protocol[I]):
    """The two verbs of a task."""

    def prepare(self, request: frames.Submit, call: Call, /) -> list[I]:
        """One item of `call` for each text. Raises InvalidInput, naming the field, and WrongTask."""

    def tell(self, item: I, /) -> frames.Answer | frames.Delta | None:
        """What there is to say after `item` got an output; an answer, or a delta with `last`, closes its call."""
