"""The standard health service, one status for each checkpoint and "" for the server. Front process, event loop only.

grpc_health's own servicer is not used: its `set` is a coroutine where serving tells by a plain call, and its watches never end,
so that a single watching client would hold a drain until its last second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2, health_pb2_grpc

from trine.errors import CheckpointNotFound
from trine.front.wire.status import Context

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """Not serving until told otherwise; may stand on several servers of one loop."""

    def __init__(self) -> None:
        self._serving = {"": False}
        self._draining = False
        self._ended = False
        self._changed = asyncio.Event()

    def set(self, name: str, serving: bool | None) -> None:
        """None for a name that is gone: nothing is known of it any more."""
        if serving is None:
            self._serving.pop(name, None)
        else:
            self._serving[name] = serving
        self._wake()

    def enter_drain(self) -> None:
        """Everything known is NOT_SERVING from now on."""
        self._draining = True
        self._wake()

    def end_watches(self) -> None:
        """Watchers read what is true now, then their streams end."""
        self._ended = True
        self._wake()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._serving:
            raise CheckpointNotFound("nothing of this name is served here", field="service")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        told = None
        while True:
            # Taken before the status is read: a change during the write is then seen by the wait.
            changed, ended = self._changed, self._ended
            status = self._status(request.service)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
            if ended:
                return
            await changed.wait()

    def _status(self, name: str) -> int:
        if name not in self._serving:
            return int(_SERVICE_UNKNOWN)
        return int(_SERVING if self._serving[name] and not self._draining else _NOT_SERVING)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
