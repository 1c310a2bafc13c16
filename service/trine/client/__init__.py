"""The Python SDK: `Client` blocks, `AsyncClient` awaits; same methods, same answers, same errors (trine.errors).

    with Client() as client:
        print(client.classify("sentiment", "A delight from start to finish.").labels[0])

Runs in the caller's process and needs nothing but gRPC: no numpy, no ONNX Runtime.
"""

from trine.client.aio import AsyncClient
from trine.client.answers import (
    Alternative,
    Delta,
    Generation,
    Hypothesis,
    Segment,
    Summary,
    TokenLogprob,
    Translation,
    Usage,
)
from trine.client.blocking import Client
from trine.client.checkpoints import (
    Architecture,
    Change,
    CheckpointInfo,
    ExportReport,
    Lineage,
    Parity,
    ParityCheck,
    Progress,
    VersionInfo,
)
from trine.client.reading_answers import (
    Classification,
    Embedding,
    Entity,
    Label,
    Outcome,
    TokenClassification,
)
from trine.client.streams import AsyncStream, Stream

__all__ = [
    "Alternative",
    "Architecture",
    "AsyncClient",
    "AsyncStream",
    "Change",
    "CheckpointInfo",
    "Classification",
    "Client",
    "Delta",
    "Embedding",
    "Entity",
    "ExportReport",
    "Generation",
    "Hypothesis",
    "Label",
    "Lineage",
    "Outcome",
    "Parity",
    "ParityCheck",
    "Progress",
    "Segment",
    "Stream",
    "Summary",
    "TokenClassification",
    "TokenLogprob",
    "Translation",
    "Usage",
    "VersionInfo",
]
