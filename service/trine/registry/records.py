"""What the repository remembers of one version. Front process; on disk as record.json."""

from __future__ import annotations

import enum

import msgspec

from trine.artifact import Family, Parity, Precision, Task


class VersionState(enum.StrEnum):
    """EXPORTING -> VERIFYING -> READY or FAILED; only the process that registers moves it."""

    EXPORTING = "exporting"
    VERIFYING = "verifying"
    READY = "ready"
    FAILED = "failed"


class Record(msgspec.Struct, frozen=True):
    """One version. Everything about the artifact of a READY version stands in the artifact's own manifest."""

    checkpoint: str
    number: int
    state: VersionState
    architecture: str
    family: Family
    task: Task
    precision: Precision | None
    """None while the export decides."""
    digest: str
    """SHA-256 of the checkpoint's files and the export recipe, hexadecimal."""
    create_time: float
    """Unix seconds."""
    reason: str = ""
    """Why it is FAILED."""
    parity: Parity | None = None

    @property
    def reference(self) -> str:
        return f"{self.checkpoint}:{self.number}"
