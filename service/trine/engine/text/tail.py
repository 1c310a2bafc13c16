"""The growing end of one text: what of it may be told, and whether a stop string ends it. Engine process, its only thread.

A stop string may begin in one token and end in another, so text that could still become one is held back: the longest end of the
text that is a beginning of a stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TextStream(Protocol):
    def push(self, token: int, /) -> str:
        """The text that has become certain with this token; may be empty."""

    def finish(self) -> str:
        """What was withheld."""


class Tail:
    """All pushes and the finish together are the text of all tokens, up to the first stop string in it."""

    def __init__(self, text: TextStream, stops: Sequence[str] = (), exempt: int = 0) -> None:
        """A stop string does not count, wholly or in part, in the text of the first `exempt` tokens."""
        self._text = text
        self._stops = stops
        self._exempt = exempt
        self._longest = max(map(len, stops), default=0)
        self._tokens = 0
        self._held = ""
        self.matched: str | None = None
        """The stop string that has ended the text; nothing may be pushed after it."""

    def push(self, token: int) -> str:
        """The text that may be told with this token; ends before the stop string that it completes."""
        self._tokens += 1
        return self._release(self._text.push(token))

    def finish(self) -> str:
        """What is left when no token will come any more; a stop string may end even that."""
        if self.matched is not None:
            return ""
        text = self._release(self._text.finish())
        held, self._held = self._held, ""
        return text + held

    def _release(self, new: str) -> str:
        if not self._stops or self._tokens <= self._exempt:
            return new
        text, self._held = self._held + new, ""
        found = [(place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            end, self.matched = min(found, key=lambda match: match[0])
        else:
            end = self._certain(text)
            self._held = text[end:]
        return text[:end]

    def _certain(self, text: str) -> int:
        """Where the longest end of `text` begins with which a stop string could begin."""
        for start in range(max(0, len(text) - self._longest + 1), len(text)):
            end = text[start:]
            if any(stop.startswith(end) for stop in self._stops):
                return start
        return len(text)
