"""What the administration calls answer: responses turned into frozen values. Pure functions, any thread.

States, families, tasks and precisions are lower-case words, as in trine.v1 without the prefix: "ready", "live", "encoder-decoder",
"classification", "fp32"; "unspecified" where the server did not say, "unknown" where a newer server says what this client cannot name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from grpc_health.v1 import health_pb2

from trine.v1 import checkpoint_pb2 as pb


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """One check of the parity gate."""

    name: str
    value: float
    limit: float
    at_least: bool
    """Whether `limit` is a lower bound."""
    passed: bool
    count: int
    """Rows, tokens or texts compared."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How an artifact compares with its checkpoint."""

    passed: bool
    checks: tuple[ParityCheck, ...]
    overridden: bool = False
    """Whether it failed and the version was published all the same."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from, as far as it is known; what is not is empty."""

    base_checkpoint: str = ""
    """What it was fine-tuned from: a hub id or a name of the registry."""
    base_digest: str = ""
    training_data: str = ""
    license: str = ""
    source: str = ""
    """A folder's name, the hub's id, or "artifact"."""
    source_revision: str = ""
    """The hub's commit."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One immutable registration of a checkpoint; fields as in trine.v1.Version."""

    checkpoint: str
    number: int
    state: str
    """In the repository: exporting, verifying, ready, failed."""
    engine_state: str
    """In this server: unloaded, loading, live, restarting, unloading."""
    reason: str
    architecture: str
    family: str
    task: str
    precision: str
    """fp32, int8; unspecified while the export decides."""
    precision_reason: str
    """Why this precision and not int8, where int8 was tried and refused."""
    weight_form: str
    """How int8 weights are stored: s8, u8, s7; empty for fp32."""
    labels: tuple[str, ...]
    max_input_tokens: int
    max_output_tokens: int
    parameters: int
    size_bytes: int
    digest: str
    parity: Parity | None
    create_time: datetime | None
    load_seconds: float | None
    restarts: int
    lineage: Lineage = Lineage()
    resident_bytes: int = 0
    """Memory of the engine; 0 while unloaded."""

    @property
    def reference(self) -> str:
        """NAME:VERSION."""
        return f"{self.checkpoint}:{self.number}"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A name with its versions, oldest first."""

    name: str
    versions: tuple[VersionInfo, ...]
    aliases: dict[str, int]
    """"live" is what the bare name means."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch tells: a checkpoint as it is now, or that it is gone, or that only changes follow from here on."""

    checkpoint: CheckpointInfo | None
    """Without versions where it is deleted; None where `current` alone is told."""
    deleted: bool
    current: bool


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How an export went; what was not recorded is empty."""

    parity: Parity | None
    reason: str
    """The gate's verdict in one line."""
    recipe: str
    packages: dict[str, str]
    stage_seconds: dict[str, float]
    network_isolation: str
    limits: dict[str, int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One blueprint that the server exports."""

    name: str
    family: str
    tasks: tuple[str, ...]
    """The first is the default."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a registration; the last has the version."""

    stage: str
    """read, export, optimize, quantize, verify, publish."""
    fraction: float
    """Of the stage, 0 to 1."""
    message: str
    version: VersionInfo | None
    existing: bool
    """Whether nothing was exported, because the same content was registered before."""


def progress(response: pb.RegisterCheckpointResponse) -> Progress:
    return Progress(
        word(pb.Stage, "STAGE", response.stage),
        response.fraction,
        response.message,
        version(response.version) if response.HasField("version") else None,
        response.existing,
    )


def checkpoint(message: pb.Checkpoint) -> CheckpointInfo:
    return CheckpointInfo(message.name, tuple(map(version, message.versions)), dict(message.aliases))


def change(response: pb.WatchCheckpointsResponse) -> Change:
    found = checkpoint(response.checkpoint) if response.HasField("checkpoint") else None
    return Change(found, response.deleted, response.current)


def report(response: pb.GetExportReportResponse) -> ExportReport | None:
    """None where the version has none."""
    if not response.HasField("report"):
        return None
    told = response.report
    return ExportReport(
        parity=_parity(told.parity) if told.HasField("parity") else None,
        reason=told.reason,
        recipe=told.recipe,
        packages=dict(told.packages),
        stage_seconds=dict(told.stage_seconds),
        network_isolation=told.network_isolation,
        limits=dict(told.limits),
    )


def architecture(message: pb.Architecture) -> Architecture:
    tasks = tuple(word(pb.Task, "TASK", task) for task in message.tasks)
    return Architecture(message.name, word(pb.Family, "FAMILY", message.family), tasks)


def version(message: pb.Version) -> VersionInfo:
    return VersionInfo(
        checkpoint=message.checkpoint,
        number=message.number,
        state=word(pb.VersionState, "VERSION_STATE", message.state),
        engine_state=word(pb.EngineState, "ENGINE_STATE", message.engine_state),
        reason=message.reason,
        architecture=message.architecture,
        family=word(pb.Family, "FAMILY", message.family),
        task=word(pb.Task, "TASK", message.task),
        precision=word(pb.Precision, "PRECISION", message.precision),
        precision_reason=message.precision_reason,
        weight_form=message.weight_form,
        labels=tuple(message.labels),
        max_input_tokens=message.max_input_tokens,
        max_output_tokens=message.max_output_tokens,
        parameters=message.parameters,
        size_bytes=message.size_bytes,
        digest=message.digest,
        parity=_parity(message.parity) if message.HasField("parity") else None,
        create_time=message.create_time.ToDatetime(UTC) if message.HasField("create_time") else None,
        load_seconds=message.load_duration.ToNanoseconds() / 1e9
        if message.HasField("load_duration")
        else None,
        restarts=message.restarts,
        lineage=_lineage(message.lineage),
        resident_bytes=message.resident_bytes,
    )


def _lineage(message: pb.Lineage) -> Lineage:
    return Lineage(
        base_checkpoint=message.base_checkpoint,
        base_digest=message.base_digest,
        training_data=message.training_data,
        license=message.license,
        source=message.source,
        source_revision=message.source_revision,
    )


def _parity(message: pb.ParityReport) -> Parity:
    checks = (
        ParityCheck(check.name, check.value, check.limit, check.at_least, check.passed, check.count)
        for check in message.checks
    )
    return Parity(message.passed, tuple(checks), message.overridden)


# The generated enum wrappers share no public base class, hence Any.
def word(enum: Any, prefix: str, value: int) -> str:
    """TASK_CLASSIFICATION -> "classification"."""
    if value not in enum.values():
        return "unknown"
    return str(enum.Name(value)).removeprefix(f"{prefix}_").lower().replace("_", "-")


def health(status: int) -> str:
    """Status of the standard health service: "serving", "not-serving"."""
    return word(health_pb2.HealthCheckResponse.ServingStatus, "", status)
