"""What the repository remembers of one version, and how its export went. Front process; on disk as record.json and report.json."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from trine.artifact import Family, Parity, Precision, Task

Key = tuple[str, int, float]
"""What tells one registration from every other."""


class VersionState(enum.StrEnum):
    """EXPORTING -> VERIFYING -> READY or FAILED; only the process that registers moves it."""

    EXPORTING = "exporting"
    VERIFYING = "verifying"
    READY = "ready"
    FAILED = "failed"


class Lineage(msgspec.Struct, frozen=True):
    """Where a version comes from, as far as it is known: what the caller says, else the model card, else the config."""

    base_checkpoint: str = ""
    """What it was fine-tuned from: a hub id or a name of this registry."""
    base_digest: str = ""
    """Digest of the base where it is a version of this registry, else the revision that was named."""
    training_data: str = ""
    license: str = ""
    source: str = ""
    """A folder's name, the hub's id, or "artifact"."""
    source_revision: str = ""
    """The hub's commit in full."""


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
    lineage: Lineage = Lineage()
    manifest_sha256: str = ""
    """Of the artifact's manifest, which has the hashes of all its other files. Empty: published before it was recorded."""

    @property
    def reference(self) -> str:
        return f"{self.checkpoint}:{self.number}"

    @property
    def key(self) -> Key:
        """A name that was deleted and registered again begins at version 1 anew; the time tells the two apart."""
        return self.checkpoint, self.number, self.create_time


_Bound = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Report(msgspec.Struct, frozen=True):
    """What is read of report.json, as far as its exporter wrote it. The gate's checks stand in the record as well, its details only
    in the file."""

    reason: str = ""
    """The gate's verdict in one line with its figures."""
    recipe: str = ""
    """Version of the export recipe."""
    packages: dict[str, str] = {}
    """What made and proved the artifact: package to version."""
    stage_seconds: dict[str, float] = {}
    """By the stage's name, as in views.Progress."""
    network_isolation: str = ""
    """"network namespace", or "audit hook" where the kernel allows none."""
    limits: dict[str, _Bound] = {}
    """What the export process was held to: address_space_bytes, processor_seconds, file_bytes, descriptors, wall_seconds."""
