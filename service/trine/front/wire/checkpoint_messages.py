"""Views of checkpoints, versions and reports packed into the messages of CheckpointService. Front process, pure functions."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from trine.artifact import Family, Parity, Precision, Task
from trine.front.serving.views import Change, CheckpointView, Progress, ReportView, VersionView
from trine.registry.architectures import Architecture
from trine.registry.records import Lineage, VersionState
from trine.v1 import checkpoint_pb2

FAMILIES = {
    Family.ENCODER: checkpoint_pb2.FAMILY_ENCODER,
    Family.DECODER: checkpoint_pb2.FAMILY_DECODER,
    Family.ENCODER_DECODER: checkpoint_pb2.FAMILY_ENCODER_DECODER,
}
TASKS = {
    Task.CLASSIFICATION: checkpoint_pb2.TASK_CLASSIFICATION,
    Task.TOKEN_CLASSIFICATION: checkpoint_pb2.TASK_TOKEN_CLASSIFICATION,
    Task.EMBEDDING: checkpoint_pb2.TASK_EMBEDDING,
    Task.GENERATION: checkpoint_pb2.TASK_GENERATION,
    Task.TRANSLATION: checkpoint_pb2.TASK_TRANSLATION,
    Task.SUMMARIZATION: checkpoint_pb2.TASK_SUMMARIZATION,
}
PRECISIONS = {
    Precision.FP32: checkpoint_pb2.PRECISION_FP32,
    Precision.INT8: checkpoint_pb2.PRECISION_INT8,
    Precision.FP16: checkpoint_pb2.PRECISION_FP16,
    Precision.BF16: checkpoint_pb2.PRECISION_BF16,
}
STATES = {
    state: checkpoint_pb2.VersionState.Value(f"VERSION_STATE_{state.upper()}") for state in VersionState
}


def progress(step: Progress) -> checkpoint_pb2.RegisterCheckpointResponse:
    return checkpoint_pb2.RegisterCheckpointResponse(
        stage=checkpoint_pb2.Stage.Value(f"STAGE_{step.stage.upper()}"),
        fraction=step.fraction,
        message=step.message,
        version=None if step.version is None else version(step.version),
        existing=step.existing,
    )


def checkpoint(view: CheckpointView) -> checkpoint_pb2.Checkpoint:
    versions = [version(one) for one in view.versions]
    return checkpoint_pb2.Checkpoint(name=view.name, versions=versions, aliases=view.aliases)


def change(told: Change) -> checkpoint_pb2.WatchCheckpointsResponse:
    found = None if told.checkpoint is None else checkpoint(told.checkpoint)
    if told.deleted:
        found = checkpoint_pb2.Checkpoint(name=told.deleted)
    return checkpoint_pb2.WatchCheckpointsResponse(
        checkpoint=found, deleted=bool(told.deleted), current=told.current
    )


def architecture(row: Architecture) -> checkpoint_pb2.Architecture:
    tasks = [TASKS[task] for task in row.tasks]
    return checkpoint_pb2.Architecture(name=row.name, family=FAMILIES[row.family], tasks=tasks)


def version(view: VersionView) -> checkpoint_pb2.Version:
    return checkpoint_pb2.Version(
        checkpoint=view.checkpoint,
        number=view.number,
        state=STATES[view.record.state],
        engine_state=checkpoint_pb2.EngineState.Value(f"ENGINE_STATE_{view.engine_state.upper()}"),
        reason=view.reason,
        architecture=view.architecture,
        family=FAMILIES[view.family],
        task=TASKS[view.task],
        precision=PRECISIONS[view.precision] if view.precision else checkpoint_pb2.PRECISION_UNSPECIFIED,
        precision_reason=view.precision_reason,
        weight_form=view.weight_form,
        labels=view.labels,
        max_input_tokens=view.max_input_tokens,
        max_output_tokens=view.max_output_tokens,
        parameters=view.parameters,
        size_bytes=view.size_bytes,
        digest=view.digest,
        parity=None if view.parity is None else _parity(view.parity),
        create_time=_timestamp(view.create_time),
        load_duration=None if view.load_seconds is None else _duration(view.load_seconds),
        restarts=view.restarts,
        lineage=_lineage(view.lineage),
        resident_bytes=view.resident_bytes,
    )


def _lineage(known: Lineage) -> checkpoint_pb2.Lineage:
    return checkpoint_pb2.Lineage(
        base_checkpoint=known.base_checkpoint,
        base_digest=known.base_digest,
        training_data=known.training_data,
        license=known.license,
        source=known.source,
        source_revision=known.source_revision,
    )


def report(view: ReportView) -> checkpoint_pb2.GetExportReportResponse:
    told = checkpoint_pb2.GetExportReportResponse(version=version(view.version))
    if view.report is not None:
        found = view.report
        told.report.CopyFrom(
            checkpoint_pb2.ExportReport(
                parity=None if view.version.parity is None else _parity(view.version.parity),
                reason=found.reason,
                recipe=found.recipe,
                packages=found.packages,
                stage_seconds=found.stage_seconds,
                network_isolation=found.network_isolation,
                limits=found.limits,
            )
        )
    return told


def _parity(parity: Parity) -> checkpoint_pb2.ParityReport:
    checks = [
        checkpoint_pb2.ParityCheck(
            name=check.name,
            value=check.value,
            limit=check.limit,
            at_least=check.at_least,
            passed=check.passed,
            count=check.count,
        )
        for check in parity.checks
    ]
    return checkpoint_pb2.ParityReport(passed=parity.passed, checks=checks, overridden=parity.overridden)


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1e6))
    return timestamp


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
