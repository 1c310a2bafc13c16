"""What the administration calls send and answer: requests built, responses turned into frozen values. Pure functions, any thread.

States, families, tasks and precisions are lower-case words, as in trine.v1 without the prefix: "ready", "live", "encoder-decoder",
"classification", "fp32"; "unspecified" where the server did not say, "unknown" where a newer server says what this client cannot name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from grpc_health.v1 import health_pb2

from trine.errors import InvalidInput
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


def register_request(
    name: str, path: str | os.PathLike[str], task: str, precision: str, gate: str, hold: bool
) -> pb.RegisterCheckpointRequest:
    """Raises InvalidInput for a task, precision or gate that this client does not know.

    The precision "auto" is the server's choice, as the empty word is.
    """
    return pb.RegisterCheckpointRequest(
        name=name,
        path=os.fspath(path),
        task=_value(pb.Task, "task", task),
        precision=_value(pb.Precision, "precision", "" if precision == "auto" else precision),
        gate=_value(pb.Gate, "gate", gate),
        hold=hold,
    )


def progress(response: pb.RegisterCheckpointResponse) -> Progress:
    return Progress(
        _word(pb.Stage, "STAGE", response.stage),
        response.fraction,
        response.message,
        version(response.version) if response.HasField("version") else None,
        response.existing,
    )


def checkpoint(message: pb.Checkpoint) -> CheckpointInfo:
    return CheckpointInfo(message.name, tuple(map(version, message.versions)), dict(message.aliases))


def version(message: pb.Version) -> VersionInfo:
    return VersionInfo(
        checkpoint=message.checkpoint,
        number=message.number,
        state=_word(pb.VersionState, "VERSION_STATE", message.state),
        engine_state=_word(pb.EngineState, "ENGINE_STATE", message.engine_state),
        reason=message.reason,
        architecture=message.architecture,
        family=_word(pb.Family, "FAMILY", message.family),
        task=_word(pb.Task, "TASK", message.task),
        precision=_word(pb.Precision, "PRECISION", message.precision),
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
    )


def _parity(message: pb.ParityReport) -> Parity:
    checks = (
        ParityCheck(check.name, check.value, check.limit, check.at_least, check.passed, check.count)
        for check in message.checks
    )
    return Parity(message.passed, tuple(checks), message.overridden)


# The generated enum wrappers share no public base class, hence Any.
def _word(enum: Any, prefix: str, value: int) -> str:
    """TASK_CLASSIFICATION -> "classification"."""
    if value not in enum.values():
        return "unknown"
    return str(enum.Name(value)).removeprefix(f"{prefix}_").lower().replace("_", "-")


def _value(enum: Any, field: str, word: str) -> Any:
    """ "classification" -> TASK_CLASSIFICATION; the empty word leaves the choice to the server."""
    name = f"{field}_{word or 'unspecified'}".upper().replace("-", "_")
    numbers = dict(enum.items())
    if name not in numbers:
        known = ", ".join(_word(enum, field.upper(), value) for value in numbers.values() if value)
        raise InvalidInput(f"{field} must be one of {known}", field=field)
    return numbers[name]


def health(status: int) -> str:
    """Status of the standard health service: "serving", "not-serving"."""
    return _word(health_pb2.HealthCheckResponse.ServingStatus, "", status)
