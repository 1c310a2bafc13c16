"""What the front says to an engine. Both processes."""

from __future__ import annotations

from typing import Literal

from trine.frames.base import Frame
from trine.sampling import Decoding

Aggregation = Literal["none", "simple", "first", "average", "max"]
"""How tokens become entities, as transformers' TokenClassificationPipeline names it."""


class Submit(Frame, frozen=True):
    """What every request has. `deadline` is monotonic seconds; `priority` 1 low, 2 normal, 3 high."""

    id: int
    texts: list[str]
    deadline: float
    priority: int
    caller: str


class Windows(Frame, frozen=True):
    """A text longer than the context is read in windows, each of which begins with the last `overlap` tokens of the one before.

    None leaves the overlap to the engine: a quarter of what a window holds.
    """

    overlap: int | None = None


class Classify(Submit, tag=0, frozen=True):
    """Closed by `Answer` with `Classified`. `top_k` 0 means all labels."""

    top_k: int
    pairs: list[str | None] = []
    """The second text of each input, where it has one; or none at all."""
    raw_scores: bool = False
    """Tell logits instead of probabilities."""
    windows: Windows | None = None
    """None refuses what is longer than the context; likewise below."""


class ClassifyTokens(Submit, tag=5, frozen=True):
    """Closed by `Answer` with `Tagged`."""

    aggregation: Aggregation
    windows: Windows | None = None


class Embed(Submit, tag=6, frozen=True):
    """Closed by `Answer` with `Embedded`."""

    normalize: bool | None = None
    """None leaves it to the checkpoint."""
    dimensions: int = 0
    """Tell the first so many values of each embedding; 0 means all."""
    windows: Windows | None = None


class Message(Frame, frozen=True):
    """One turn of a conversation."""

    role: str
    content: str


class Direction(Frame, frozen=True):
    """Languages of one text, as the checkpoint names them; empty where the caller left it to the checkpoint."""

    source: str = ""
    target: str = ""


class Generate(Submit, tag=1, frozen=True):
    """Generation, translation or summarization, as the version's task is.

    With `stream` closed by `Step`, else by `Answer` with `Generated`.
    """

    decoding: Decoding
    stream: bool
    conversations: list[list[Message]] = []
    """Generation: one for each text, empty where the text itself is the prompt; or none at all."""
    directions: list[Direction] = []
    """Translation: one for each text, or none at all."""
    split: bool = True
    """Translation: write each sentence on its own. Else a text that does not fit the context is refused."""


class Cancel(Frame, tag=2, frozen=True):
    """The caller left; answered by `Gone` unless the id was closed before."""

    id: int


class Ping(Frame, tag=3, frozen=True):
    """Answered by `Pong` between two steps: an engine that is alive but makes no progress does not answer."""

    number: int


class Stop(Frame, tag=4, frozen=True):
    """Finish nothing, exit with status 0. The front sends it when no id is open, or when the drain deadline has passed."""
