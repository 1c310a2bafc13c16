"""CheckpointService: requests unpacked, views packed. Front process, event loop only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from trine.errors import InvalidInput
from trine.export.plan import Gate
from trine.front.serving.administration import Administration, Filter
from trine.front.wire import checkpoint_messages as pack
from trine.front.wire.status import Context
from trine.registry.records import Lineage
from trine.registry.source import Folder, Hub, Source
from trine.v1 import checkpoint_pb2, checkpoint_pb2_grpc

_GATES = {
    checkpoint_pb2.GATE_UNSPECIFIED: Gate.ENFORCE,
    checkpoint_pb2.GATE_ENFORCE: Gate.ENFORCE,
    checkpoint_pb2.GATE_REPORT: Gate.REPORT,
}
_TASKS = {number: task for task, number in pack.TASKS.items()}
_PRECISIONS = {number: precision for precision, number in pack.PRECISIONS.items()}
_FAMILIES = {number: family for family, number in pack.FAMILIES.items()}
_STATES = {number: state for state, number in pack.STATES.items()}

_LONGEST_CLAIM = {"base_checkpoint": 200, "license": 200, "training_data": 4000}
"""Characters."""


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
            _source(request),
            task=_TASKS.get(request.task),
            precision=_PRECISIONS.get(request.precision),
            gate=_GATES[request.gate],
            hold=request.hold,
            claims=_claims(request),
        )
        async with aclosing(stages):
            async for progress in stages:
                yield pack.progress(progress)

    async def ImportCheckpoint(
        self, request: checkpoint_pb2.ImportCheckpointRequest, context: Context
    ) -> checkpoint_pb2.ImportCheckpointResponse:
        if not request.path:
            raise InvalidInput("path must not be empty", field="path")
        view, existing = await self._administration.import_artifact(
            request.name, request.path, hold=request.hold
        )
        return checkpoint_pb2.ImportCheckpointResponse(version=pack.version(view), existing=existing)

    async def GetCheckpoint(
        self, request: checkpoint_pb2.GetCheckpointRequest, context: Context
    ) -> checkpoint_pb2.GetCheckpointResponse:
        view = self._administration.get(request.checkpoint)
        return checkpoint_pb2.GetCheckpointResponse(checkpoint=pack.checkpoint(view))

    async def ListCheckpoints(
        self, request: checkpoint_pb2.ListCheckpointsRequest, context: Context
    ) -> checkpoint_pb2.ListCheckpointsResponse:
        views, next_page_token = self._administration.list(
            request.page_size, request.page_token, _filter(request)
        )
        return checkpoint_pb2.ListCheckpointsResponse(
            checkpoints=[pack.checkpoint(view) for view in views], next_page_token=next_page_token
        )

    async def LoadCheckpoint(
        self, request: checkpoint_pb2.LoadCheckpointRequest, context: Context
    ) -> checkpoint_pb2.LoadCheckpointResponse:
        view = await self._administration.load(request.checkpoint)
        return checkpoint_pb2.LoadCheckpointResponse(version=pack.version(view))

    async def UnloadCheckpoint(
        self, request: checkpoint_pb2.UnloadCheckpointRequest, context: Context
    ) -> checkpoint_pb2.UnloadCheckpointResponse:
        view = await self._administration.unload(request.checkpoint)
        return checkpoint_pb2.UnloadCheckpointResponse(version=pack.version(view))

    async def DeleteCheckpoint(
        self, request: checkpoint_pb2.DeleteCheckpointRequest, context: Context
    ) -> checkpoint_pb2.DeleteCheckpointResponse:
        await self._administration.delete(request.checkpoint)
        return checkpoint_pb2.DeleteCheckpointResponse()

    async def SetAlias(
        self, request: checkpoint_pb2.SetAliasRequest, context: Context
    ) -> checkpoint_pb2.SetAliasResponse:
        view = await self._administration.set_alias(request.checkpoint, request.alias)
        return checkpoint_pb2.SetAliasResponse(checkpoint=pack.checkpoint(view))

    async def DeleteAlias(
        self, request: checkpoint_pb2.DeleteAliasRequest, context: Context
    ) -> checkpoint_pb2.DeleteAliasResponse:
        view = await self._administration.delete_alias(request.checkpoint)
        return checkpoint_pb2.DeleteAliasResponse(checkpoint=pack.checkpoint(view))

    async def WatchCheckpoints(
        self, request: checkpoint_pb2.WatchCheckpointsRequest, context: Context
    ) -> AsyncIterator[checkpoint_pb2.WatchCheckpointsResponse]:
        async with aclosing(self._administration.watch(request.checkpoint)) as changes:
            async for change in changes:
                yield pack.change(change)

    async def GetExportReport(
        self, request: checkpoint_pb2.GetExportReportRequest, context: Context
    ) -> checkpoint_pb2.GetExportReportResponse:
        return pack.report(await self._administration.report(request.checkpoint))

    async def ListArchitectures(
        self, request: checkpoint_pb2.ListArchitecturesRequest, context: Context
    ) -> checkpoint_pb2.ListArchitecturesResponse:
        rows = self._administration.architectures()
        return checkpoint_pb2.ListArchitecturesResponse(architectures=map(pack.architecture, rows))


def validate_register(request: checkpoint_pb2.RegisterCheckpointRequest) -> None:
    """Raise InvalidInput that names the field. What the name and the path may be is serving's to say."""
    if request.WhichOneof("source") is None or (request.WhichOneof("source") == "path" and not request.path):
        raise InvalidInput("path must not be empty, unless hub is set", field="path")
    if request.WhichOneof("source") == "hub" and not request.hub.repo_id:
        raise InvalidInput("repo_id must not be empty", field="hub.repo_id")
    _refuse_unknown("task", request.task, _TASKS)
    _refuse_unknown("precision", request.precision, _PRECISIONS)
    if request.gate not in _GATES:
        raise InvalidInput(f"{request.gate} is no way to use the gate", field="gate")
    for field, longest in _LONGEST_CLAIM.items():
        claim: str = getattr(request, field)
        if len(claim) > longest or not (claim.isprintable() or field == "training_data"):
            raise InvalidInput(f"{field} is one line of at most {longest} characters", field=field)


def _source(request: checkpoint_pb2.RegisterCheckpointRequest) -> Source:
    if request.WhichOneof("source") == "hub":
        return Hub(request.hub.repo_id, request.hub.revision or "main")
    return Folder(request.path)


def _claims(request: checkpoint_pb2.RegisterCheckpointRequest) -> Lineage:
    return Lineage(
        base_checkpoint=request.base_checkpoint,
        training_data=request.training_data,
        license=request.license,
    )


def _filter(request: checkpoint_pb2.ListCheckpointsRequest) -> Filter:
    """Raises InvalidInput for a word that a newer client may know: to list everything instead would be wrong."""
    _refuse_unknown("task", request.task, _TASKS)
    _refuse_unknown("family", request.family, _FAMILIES)
    _refuse_unknown("state", request.state, _STATES)
    return Filter(
        task=_TASKS.get(request.task),
        family=_FAMILIES.get(request.family),
        state=_STATES.get(request.state),
        base_checkpoint=request.base_checkpoint,
    )


def _refuse_unknown(field: str, number: int, known: Mapping[Any, object]) -> None:
    if number and number not in known:
        raise InvalidInput(f"{number} is no {field}", field=field)
