"""What administration tells of checkpoints, versions and registrations. Plain data, front process."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from trine.artifact import Family, Manifest, Parity, Precision, Task
from trine.registry.records import Lineage, Record, Report


class EngineState(enum.StrEnum):
    """UNLOADED -> LOADING -> LIVE -> UNLOADING -> UNLOADED; LIVE -> RESTARTING -> LIVE after a crash. Moved by `handle`."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    LIVE = "live"
    RESTARTING = "restarting"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine as this server has it now."""

    state: EngineState = EngineState.UNLOADED
    reason: str = ""
    load_seconds: float | None = None
    restarts: int = 0
    resident_bytes: int = 0
    """Memory of its own, as last measured; 0 without an engine."""


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version: its record, its artifact where it has one, its engine."""

    record: Record
    manifest: Manifest | None = None
    size_bytes: int = 0
    engine: EngineView = field(default_factory=EngineView)

    @property
    def checkpoint(self) -> str:
        return self.record.checkpoint

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def state(self) -> str:
        return self.record.state

    @property
    def engine_state(self) -> str:
        return self.engine.state

    @property
    def reason(self) -> str:
        return self.record.reason or self.engine.reason

    @property
    def architecture(self) -> str:
        return self.record.architecture

    @property
    def family(self) -> Family:
        return self.record.family

    @property
    def task(self) -> Task:
        return self.record.task

    @property
    def precision(self) -> Precision | None:
        """None while the export decides."""
        return self.record.precision

    @property
    def precision_reason(self) -> str:
        return self.manifest.precision_reason if self.manifest else ""

    @property
    def weight_form(self) -> str:
        return (self.manifest.weight_form or "") if self.manifest else ""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels if self.manifest else ()

    @property
    def max_input_tokens(self) -> int:
        return self.manifest.limits.max_input_tokens if self.manifest else 0

    @property
    def max_output_tokens(self) -> int:
        """New tokens; the start token of the encoder-decoder family is none."""
        if self.manifest is None:
            return 0
        return self.manifest.limits.max_output_tokens - (self.family is Family.ENCODER_DECODER)

    @property
    def parameters(self) -> int:
        return self.manifest.parameters if self.manifest else 0

    @property
    def digest(self) -> str:
        return self.record.digest

    @property
    def parity(self) -> Parity | None:
        return self.record.parity

    @property
    def create_time(self) -> float:
        return self.record.create_time

    @property
    def load_seconds(self) -> float | None:
        return self.engine.load_seconds

    @property
    def restarts(self) -> int:
        return self.engine.restarts

    @property
    def resident_bytes(self) -> int:
        return self.engine.resident_bytes

    @property
    def lineage(self) -> Lineage:
        return self.record.lineage


@dataclass(frozen=True, slots=True)
class CheckpointView:
    name: str
    versions: list[VersionView]
    aliases: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReportView:
    """How the export of a version went; `report` is None where there is none."""

    version: VersionView
    report: Report | None


@dataclass(frozen=True, slots=True)
class Change:
    """One checkpoint as it is now, for a watcher. Exactly one of the three is told."""

    checkpoint: CheckpointView | None = None
    deleted: str = ""
    """The name of which nothing is left."""
    current: bool = False
    """Everything that was there has been told; from here on only changes follow."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a registration; `version` only in the last. `stage` is read, export, optimize, quantize, verify or publish."""

    stage: str
    fraction: float
    message: str
    version: VersionView | None = None
    existing: bool = False
