"""CheckpointService: requests unpacked, views packed. Front process, event loop only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from trine.artifact import Family, Parity, Precision, Task
from trine.errors import InvalidInput
from trine.export.plan import Gate
from trine.front.serving.administration import Administration
from trine.front.serving.views import CheckpointView, Progress, VersionView
from trine.front.wire.status import Context
from trine.v1 import checkpoint_pb2, checkpoint_pb2_grpc

_FAMILIES = {
    Family.ENCODER: checkpoint_pb2.FAMILY_ENCODER,
    Family.DECODER: checkpoint_pb2.FAMILY_DECODER,
    Family.ENCODER_DECODER: checkpoint_pb2.FAMILY_ENCODER_DECODER,
}
_TASKS = {
    Task.CLASSIFICATION: checkpoint_pb2.TASK_CLASSIFICATION,
    Task.TOKEN_CLASSIFICATION: checkpoint_pb2.TASK_TOKEN_CLASSIFICATION,
    Task.EMBEDDING: checkpoint_pb2.TASK_EMBEDDING,
    Task.GENERATION: checkpoint_pb2.TASK_GENERATION,
    Task.TRANSLATION: checkpoint_pb2.TASK_TRANSLATION,
    Task.SUMMARIZATION: checkpoint_pb2.TASK_SUMMARIZATION,
}
_PRECISIONS = {
    Precision.FP32: checkpoint_pb2.PRECISION_FP32,
    Precision.INT8: checkpoint_pb2.PRECISION_INT8,
    Precision.FP16: checkpoint_pb2.PRECISION_FP16,
    Precision.BF16: checkpoint_pb2.PRECISION_BF16,
}
_GATES = {
    checkpoint_pb2.GATE_UNSPECIFIED: Gate.ENFORCE,
    checkpoint_pb2.GATE_ENFORCE: Gate.ENFORCE,
    checkpoint_pb2.GATE_REPORT: Gate.REPORT,
}
_ASKED_TASKS = {number: task for task, number in _TASKS.items()}
_ASKED_PRECISIONS = {number: precision for precision, number in _PRECISIONS.items()}


class CheckpointServicer(checkpoint_pb2_grpc.CheckpointServiceServicer):
    """Raises errors of trine.errors; the guard turns them into statuses."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def RegisterCheckpoint(
        self, request: checkpoint_pb2.RegisterCheckpointRequest, context: Context
    ) -> AsyncIterator[checkpoint_pb2.RegisterCheckpointResponse]:
        validate_register(request)
        stages = self._administration.register(
            request.name,
            request.path,
            task=_ASKED_TASKS.get(request.task),
            precision=_ASKED_PRECISIONS.get(request.precision),
            gate=_GATES[request.gate],
            hold=request.hold,
        )
        async with aclosing(stages):
            async for progress in stages:
                yield _progress(progress)

    async def GetCheckpoint(
        self, request: checkpoint_pb2.GetCheckpointRequest, context: Context
    ) -> checkpoint_pb2.GetCheckpointResponse:
        view = self._administration.get(request.checkpoint)
        return checkpoint_pb2.GetCheckpointResponse(checkpoint=_checkpoint(view))

    async def ListCheckpoints(
        self, request: checkpoint_pb2.ListCheckpointsRequest, context: Context
    ) -> checkpoint_pb2.ListCheckpointsResponse:
        views, next_page_token = self._administration.list(request.page_size, request.page_token)
        return checkpoint_pb2.ListCheckpointsResponse(
            checkpoints=[_checkpoint(view) for view in views], next_page_token=next_page_token
        )

    async def LoadCheckpoint(
        self, request: checkpoint_pb2.LoadCheckpointRequest, context: Context
    ) -> checkpoint_pb2.LoadCheckpointResponse:
        view = await self._administration.load(request.checkpoint)
        return checkpoint_pb2.LoadCheckpointResponse(version=_version(view))

    async def UnloadCheckpoint(
        self, request: checkpoint_pb2.UnloadCheckpointRequest, context: Context
    ) -> checkpoint_pb2.UnloadCheckpointResponse:
        view = await self._administration.unload(request.checkpoint)
        return checkpoint_pb2.UnloadCheckpointResponse(version=_version(view))

    async def DeleteCheckpoint(
        self, request: checkpoint_pb2.DeleteCheckpointRequest, context: Context
    ) -> checkpoint_pb2.DeleteCheckpointResponse:
        await self._administration.delete(request.checkpoint)
        return checkpoint_pb2.DeleteCheckpointResponse()


def validate_register(request: checkpoint_pb2.RegisterCheckpointRequest) -> None:
    """Raise InvalidInput that names the field. What the name and the path may be is serving's to say."""
    if not request.path:
        raise InvalidInput("path must not be empty", field="path")
    if request.task and request.task not in _ASKED_TASKS:
        raise InvalidInput(f"{request.task} is no task", field="task")
    if request.precision and request.precision not in _ASKED_PRECISIONS:
        raise InvalidInput(f"{request.precision} is no precision", field="precision")
    if request.gate not in _GATES:
        raise InvalidInput(f"{request.gate} is no way to use the gate", field="gate")


def _progress(progress: Progress) -> checkpoint_pb2.RegisterCheckpointResponse:
    return checkpoint_pb2.RegisterCheckpointResponse(
        stage=checkpoint_pb2.Stage.Value(f"STAGE_{progress.stage.upper()}"),
        fraction=progress.fraction,
        message=progress.message,
        version=None if progress.version is None else _version(progress.version),
        existing=progress.existing,
    )


def _checkpoint(view: CheckpointView) -> checkpoint_pb2.Checkpoint:
    versions = [_version(version) for version in view.versions]
    return checkpoint_pb2.Checkpoint(name=view.name, versions=versions, aliases=view.aliases)


def _version(view: VersionView) -> checkpoint_pb2.Version:
    return checkpoint_pb2.Version(
        checkpoint=view.checkpoint,
        number=view.number,
        state=checkpoint_pb2.VersionState.Value(f"VERSION_STATE_{view.state.upper()}"),
        engine_state=checkpoint_pb2.EngineState.Value(f"ENGINE_STATE_{view.engine_state.upper()}"),
        reason=view.reason,
        architecture=view.architecture,
        family=_FAMILIES[view.family],
        task=_TASKS[view.task],
        precision=_PRECISIONS[view.precision] if view.precision else checkpoint_pb2.PRECISION_UNSPECIFIED,
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
    )


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
