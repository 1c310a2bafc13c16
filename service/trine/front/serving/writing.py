"""What requests of the generating families want: which frame asks the engine for it, and where its answer has the results. Plain data,
front process.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trine import frames
from trine.artifact import Task
from trine.front.serving.work import Caller
from trine.sampling import Decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Texts to continue, to translate or to summarize; fields as of frames.Generate."""

    task: Task
    texts: list[str]
    decoding: Decoding
    conversations: list[list[frames.Message]] = dataclasses.field(default_factory=list)
    directions: list[frames.Direction] = dataclasses.field(default_factory=list)
    split: bool = False
    stream: bool = False

    def contents(self) -> list[str]:
        if not self.conversations:
            return self.texts
        return [
            text or "".join(message.content for message in messages)
            for text, messages in zip(self.texts, self.conversations, strict=True)
        ]

    def field(self, index: int) -> str:
        conversation = bool(self.conversations and self.conversations[index])
        return f"inputs[{index}].{'messages' if conversation else 'text'}"

    def submit(self, number: int, deadline: float, caller: Caller) -> frames.Submit:
        return frames.Generate(
            number,
            self.texts,
            deadline,
            caller.priority,
            caller.name,
            self.decoding,
            self.stream,
            self.conversations,
            self.directions,
            self.split,
        )

    def results(self, answer: frames.Answer) -> list[frames.Generated]:
        return answer.generated
