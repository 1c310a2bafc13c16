"""The asynchronous client's connections and its administration. Belongs to the event loop in which it was made."""

from __future__ import annotations

import builtins
import os
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trine.client import channel, checkpoint_requests, checkpoints
from trine.client.checkpoint_requests import ListOptions, RegisterOptions
from trine.client.checkpoints import (
    Architecture,
    Change,
    CheckpointInfo,
    ExportReport,
    Progress,
    VersionInfo,
)
from trine.client.failures import failure
from trine.client.streams import AsyncStream
from trine.v1 import checkpoint_pb2 as admin_pb
from trine.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from trine.v1.inference_pb2_grpc import InferenceServiceStub

_Response = TypeVar("_Response")


class AsyncCheckpoints:
    """The connections, the health of the server, and CheckpointService; AsyncClient is made of it."""

    def __init__(
        self,
        target: str = channel.DEFAULT_TARGET,
        admin_target: str = channel.DEFAULT_ADMIN_TARGET,
        *,
        timeout: float = channel.DEFAULT_TIMEOUT,
        options: channel.Options = (),
    ) -> None:
        self._target = target
        self._admin_target = admin_target
        self._timeout = timeout
        self._channel = grpc.aio.insecure_channel(target, channel.channel_options(options))
        self._admin_channel = grpc.aio.insecure_channel(admin_target, channel.channel_options(options))
        self._inference = InferenceServiceStub(self._channel)
        self._checkpoints = CheckpointServiceStub(self._admin_channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def close(self) -> None:
        """End all calls and both connections."""
        await self._channel.close()
        await self._admin_channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def health(self, name: str = "", *, timeout: float | None = None) -> str:
        """Health of a checkpoint, or of the whole server: "serving" or "not-serving". Raises CheckpointNotFound."""
        response = await self._infer(self._health.Check, health_pb2.HealthCheckRequest(service=name), timeout)
        return checkpoints.health(response.status)

    # --- administration ----------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        source: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        **options: Unpack[RegisterOptions],
    ) -> AsyncStream[Progress]:
        """Export, prove and publish a checkpoint: a folder, absolute and in the server's own file system, or "hub:owner/name".

        The last step has the version. Leaving early cancels it. Options: see RegisterOptions.
        """
        request = checkpoint_requests.register(name, source, options)
        call = self._checkpoints.RegisterCheckpoint(request, timeout=timeout)
        return AsyncStream(call, checkpoints.progress, self._admin_target)

    async def import_artifact(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        hold: bool = False,
        timeout: float | None = None,
    ) -> tuple[VersionInfo, bool]:
        """Publish an exported artifact, a folder in the server's own file system: the version, and whether it was there before."""
        request = admin_pb.ImportCheckpointRequest(name=name, path=os.fspath(path), hold=hold)
        response = await self._administer(self._checkpoints.ImportCheckpoint, request, timeout)
        return checkpoints.version(response.version), response.existing

    async def get(self, checkpoint: str, *, timeout: float | None = None) -> CheckpointInfo:
        """A checkpoint with all its versions, or with the one that NAME@ALIAS or NAME:VERSION means."""
        request = admin_pb.GetCheckpointRequest(checkpoint=checkpoint)
        response = await self._administer(self._checkpoints.GetCheckpoint, request, timeout)
        return checkpoints.checkpoint(response.checkpoint)

    async def load(self, checkpoint: str, *, timeout: float | None = None) -> VersionInfo:
        """Start an engine for a version, and wait until it is live."""
        request = admin_pb.LoadCheckpointRequest(checkpoint=checkpoint)
        response = await self._administer(self._checkpoints.LoadCheckpoint, request, timeout)
        return checkpoints.version(response.version)

    async def unload(self, checkpoint: str, *, timeout: float | None = None) -> VersionInfo:
        """Let a version finish what it runs, and end its engine."""
        request = admin_pb.UnloadCheckpointRequest(checkpoint=checkpoint)
        response = await self._administer(self._checkpoints.UnloadCheckpoint, request, timeout)
        return checkpoints.version(response.version)

    async def delete(self, checkpoint: str, *, timeout: float | None = None) -> None:
        """Remove an unloaded version (NAME:VERSION) or a whole checkpoint (NAME) from the repository."""
        request = admin_pb.DeleteCheckpointRequest(checkpoint=checkpoint)
        await self._administer(self._checkpoints.DeleteCheckpoint, request, timeout)

    async def list(
        self, *, timeout: float | None = None, **options: Unpack[ListOptions]
    ) -> builtins.list[CheckpointInfo]:
        """The checkpoints that have a version of the kind, in order of their names; as many calls as there are pages.

        Options: see ListOptions.
        """
        found: builtins.list[CheckpointInfo] = []
        token = ""
        while True:
            request = checkpoint_requests.list_page(token, options)
            page = await self._administer(self._checkpoints.ListCheckpoints, request, timeout)
            found += map(checkpoints.checkpoint, page.checkpoints)
            token = page.next_page_token
            if not token:
                return found

    async def set_alias(self, checkpoint: str, alias: str, *, timeout: float | None = None) -> CheckpointInfo:
        """Point an alias at NAME:VERSION, or at what NAME@ALIAS means; no call to it fails meanwhile. Moving it back is the rollback."""
        request = admin_pb.SetAliasRequest(checkpoint=checkpoint, alias=alias)
        response = await self._administer(self._checkpoints.SetAlias, request, timeout)
        return checkpoints.checkpoint(response.checkpoint)

    async def delete_alias(self, checkpoint: str, *, timeout: float | None = None) -> CheckpointInfo:
        """Remove NAME@ALIAS; the version stays."""
        request = admin_pb.DeleteAliasRequest(checkpoint=checkpoint)
        response = await self._administer(self._checkpoints.DeleteAlias, request, timeout)
        return checkpoints.checkpoint(response.checkpoint)

    def watch(self, name: str = "", *, timeout: float | None = None) -> AsyncStream[Change]:
        """All checkpoints, or one, as they are; then each anew whenever it changes, whichever server of the repository changed it."""
        request = admin_pb.WatchCheckpointsRequest(checkpoint=name)
        call = self._checkpoints.WatchCheckpoints(request, timeout=timeout)
        return AsyncStream(call, checkpoints.change, self._admin_target)

    async def export_report(self, checkpoint: str, *, timeout: float | None = None) -> ExportReport | None:
        """How the export of a version went; None where there is no report."""
        request = admin_pb.GetExportReportRequest(checkpoint=checkpoint)
        response = await self._administer(self._checkpoints.GetExportReport, request, timeout)
        return checkpoints.report(response)

    async def architectures(self, *, timeout: float | None = None) -> builtins.list[Architecture]:
        """What the server exports, in order of names."""
        request = admin_pb.ListArchitecturesRequest()
        response = await self._administer(self._checkpoints.ListArchitectures, request, timeout)
        return builtins.list(map(checkpoints.architecture, response.architectures))

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _infer(
        self, method: Callable[..., Awaitable[_Response]], request: Any, timeout: float | None
    ) -> _Response:
        try:
            return await method(request, timeout=self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise failure(error, self._target) from None

    async def _administer(
        self, method: Callable[..., Awaitable[_Response]], request: Any, timeout: float | None
    ) -> _Response:
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise failure(error, self._admin_target) from None
