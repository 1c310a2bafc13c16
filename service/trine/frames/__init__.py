"""The messages between the front and one engine, and how they travel. Both processes.

A frame is a 4-byte little-endian length and one msgpack list of messages: all that one tick of the front's loop, or one step of
the engine, has to say, in one write. `Submit`s carry an id that the front chose; the engine ends each id with exactly one
closing message: `Answer`, `Failed`, `Gone`, or a `Step` delta with `last`. Until then the id counts in the engine's window,
even when its caller has left: freed earlier, it would be a hidden queue in the socket's buffer.

Times are `time.monotonic()`, which all processes of one machine share.
"""

from trine.frames.answers import Answer, Delta, Failed, Gone, LoadFailed, Observed, Pong, Ready, Step
from trine.frames.base import Frame
from trine.frames.requests import (
    Aggregation,
    Cancel,
    Classify,
    ClassifyTokens,
    Direction,
    Embed,
    Generate,
    Message,
    Ping,
    Stop,
    Submit,
    Windows,
)
from trine.frames.results import (
    Alternative,
    Classified,
    Embedded,
    Entity,
    Generated,
    Hypothesis,
    Segment,
    Tagged,
    TokenLogprob,
    Usage,
)
from trine.frames.travel import MAX_FRAME, Unpacker, pack

ToEngine = Classify | ClassifyTokens | Embed | Generate | Cancel | Ping | Stop
ToFront = Ready | LoadFailed | Answer | Step | Failed | Gone | Pong | Observed

__all__ = [
    "Aggregation",
    "Alternative",
    "Answer",
    "Cancel",
    "Classified",
    "Classify",
    "ClassifyTokens",
    "Delta",
    "Direction",
    "Embed",
    "Embedded",
    "Entity",
    "Failed",
    "Frame",
    "Generate",
    "Generated",
    "Gone",
    "Hypothesis",
    "LoadFailed",
    "MAX_FRAME",
    "Message",
    "Observed",
    "Ping",
    "Pong",
    "Ready",
    "Segment",
    "Step",
    "Stop",
    "Submit",
    "Tagged",
    "ToEngine",
    "ToFront",
    "TokenLogprob",
    "Unpacker",
    "Usage",
    "Windows",
    "pack",
]
