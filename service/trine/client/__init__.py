"""The Python SDK: `Client` blocks, `AsyncClient` awaits; same methods, same answers, same errors (trine.errors).

    with Client() as client:
        print(client.classify("sentiment", "A delight from start to finish.").labels[0])

Runs in the caller's process and needs nothing but gRPC: no numpy, no ONNX Runtime.
"""

from trine.client.aio import AsyncClient
from trine.client.answers import (
    Alternative,
    Classification,
    Delta,
    Generation,
    Hypothesis,
    Label,
    Segment,
    Summary,
    TokenLogprob,
    Translation,
    Usage,
)
from trine.client.blocking import Client
from trine.client.checkpoints import CheckpointInfo, Parity, ParityCheck, Progress, VersionInfo
from trine.client.streams import AsyncStream, Stream

__all__ = [
    "Alternative",
    "AsyncClient",
    "AsyncStream",
    "CheckpointInfo",
    "Classification",
    "Client",
    "Delta",
    "Generation",
    "Hypothesis",
    "Label",
    "Parity",
    "ParityCheck",
    "Progress",
    "Segment",
    "Stream",
    "Summary",
    "TokenLogprob",
    "Translation",
    "Usage",
    "VersionInfo",
]
