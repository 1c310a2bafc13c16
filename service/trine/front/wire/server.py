"""The two gRPC listeners: inference, and administration on an address of its own. Front process, event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from trine.config import Settings
from trine.errors import NotPossible
from trine.front.serving.administration import Administration
from trine.front.serving.inference import Inference
from trine.front.serving.status import Status
from trine.front.wire.checkpoints import CheckpointServicer
from trine.front.wire.health import HealthServicer
from trine.front.wire.inference import InferenceServicer
from trine.front.wire.interceptors import Guard
from trine.front.wire.streams import Streams
from trine.telemetry.metrics import Metrics
from trine.v1 import checkpoint_pb2, checkpoint_pb2_grpc, inference_pb2, inference_pb2_grpc

_INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
_CHECKPOINTS = checkpoint_pb2.DESCRIPTOR.services_by_name["CheckpointService"].full_name

_CLIENT_PING_MS = 20_000
"""The shortest pause between two keepalive pings that a client may send; grpc's own 300 s cuts clients with usual settings off."""
_SERVER_PING_MS = 60_000
_SERVER_PING_TIMEOUT_MS = 20_000
"""A client that vanished without closing its connection is given up after 80 s; grpc's own 2 h would hold its calls."""


class GrpcServers:
    """Built on the loop that will run it; the same health service stands on both listeners."""

    def __init__(
        self,
        settings: Settings,
        inference: Inference,
        administration: Administration,
        status: Status,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._status = status
        self._metrics = metrics
        self._health = HealthServicer()
        self._streams = Streams(settings.max_stream_inputs)
        self._inference = self._server(_INFERENCE)
        self._administration = self._server(_CHECKPOINTS)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(
            InferenceServicer(inference, self._streams, settings), _by_name(self._inference)
        )
        checkpoint_pb2_grpc.add_CheckpointServiceServicer_to_server(
            CheckpointServicer(administration), _by_name(self._administration)
        )

    def _server(self, service: str) -> grpc.aio.Server:
        guard = Guard(
            self._metrics,
            self._settings.retry_after,
            self._settings.default_timeout,
            self._settings.max_message_bytes,
        )
        server = grpc.aio.server(interceptors=[guard], options=_options(self._settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, _by_name(server))
        if self._settings.reflection:
            names = (service, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    async def start(self) -> tuple[int, int]:
        """Listen; the ports of inference and of administration. Raises NotPossible when one cannot be had."""
        settings = self._settings
        try:
            ports = (
                _listen(self._inference, settings.host, settings.grpc_port, "GRPC"),
                _listen(self._administration, settings.admin_host, settings.admin_port, "ADMIN"),
            )
        except NotPossible:
            await self.stop(0.0)
            raise
        self._status.subscribe(self._health.set)
        await self._inference.start()
        await self._administration.start()
        return ports

    def enter_drain(self) -> None:
        """Health is NOT_SERVING from now on; calls are still answered."""
        self._health.enter_drain()

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those that run `grace` seconds, then cancel them."""
        self._health.end_watches()
        self._streams.drain()
        await asyncio.gather(self._inference.stop(grace), self._administration.stop(grace))


class _ByName:
    """What the generated code takes for a server, but its methods are found by their names when a call comes.

    Of methods that are registered beforehand grpc.aio waits for each with a future of its own, and every call passes all of
    them twice: 8 % of a small call's time (docs/decisions/0014).
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        pass


def _by_name(server: grpc.aio.Server) -> grpc.aio.Server:
    return cast(grpc.aio.Server, _ByName(server))


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        # On, a second server on the same port would silently take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", _SERVER_PING_MS),
        ("grpc.keepalive_timeout_ms", _SERVER_PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _CLIENT_PING_MS),
    ]


def _listen(server: grpc.aio.Server, host: str, port: int, setting: str) -> int:
    address = f"[{host}]" if ":" in host else host
    try:
        return server.add_insecure_port(f"{address}:{port}")
    except RuntimeError:
        raise NotPossible(
            f"cannot listen on port {port} of {host}: it is taken, or may not be opened; "
            f"set TRINE_{setting}_PORT to another port, or to 0 for any free one"
        ) from None
