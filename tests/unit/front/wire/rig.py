"""A real pair of gRPC servers on free ports of the loopback address, over a stand-in for serving."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.unit.front.wire.fakes import FakeAdministration, FakeInference, FakeStatus
from trine.config import Settings
from trine.front.serving.administration import Administration
from trine.front.serving.inference import Inference
from trine.front.serving.status import Status
from trine.front.wire.server import GrpcServers
from trine.telemetry.metrics import Metrics
from trine.v1 import checkpoint_pb2_grpc, inference_pb2_grpc


@dataclass
class Rig:
    """Servers, their stand-ins, and a client's channels and stubs."""

    settings: Settings
    inference: FakeInference
    administration: FakeAdministration
    status: FakeStatus
    metrics: Metrics
    servers: GrpcServers
    ports: tuple[int, int]
    channel: grpc.aio.Channel
    admin_channel: grpc.aio.Channel
    stub: Any
    admin: Any

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def series(self) -> int:
        return sum(len(family.samples) for family in self.metrics.registry.collect())


def settings(**changes: Any) -> Settings:
    return Settings(**{"grpc_port": 0, "admin_port": 0, "http_port": 0, **changes})


def servers(
    options: Settings,
    inference: FakeInference,
    administration: FakeAdministration,
    status: FakeStatus,
    metrics: Metrics,
) -> GrpcServers:
    return GrpcServers(
        options,
        cast(Inference, inference),
        cast(Administration, administration),
        cast(Status, status),
        metrics,
    )


@contextlib.asynccontextmanager
async def running(options: Settings) -> AsyncIterator[Rig]:
    parts = FakeInference(), FakeAdministration(), FakeStatus(), Metrics()
    built = servers(options, *parts)
    ports = await built.start()
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
    stub: Any = inference_pb2_grpc.InferenceServiceStub(channels[0])
    admin: Any = checkpoint_pb2_grpc.CheckpointServiceStub(channels[1])
    try:
        yield Rig(options, *parts, built, ports, channels[0], channels[1], stub, admin)
    finally:
        for channel in channels:
            await channel.close()
        await built.stop(0.0)


@dataclass
class Refusal:
    """A status decoded as a client decodes it."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo
    fields: list[str]
    retry_after: float | None


async def refused(call: Any) -> Refusal:
    """Await a call, or read a stream to its end, that must fail with a rich status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if isinstance(call, grpc.aio.UnaryUnaryCall | grpc.aio.StreamUnaryCall):
            await call
        else:
            async for _ in call:
                pass
    return decode(caught.value)


def decode(error: grpc.aio.AioRpcError) -> Refusal:
    status: status_pb2.Status | None = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None, f"no rich status: {error.code()} {error.details()}"
    info, bad, retry = _unpack(status)
    return Refusal(
        error.code(),
        error.details() or "",
        info,
        [violation.field for violation in bad.field_violations],
        retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )


def _unpack(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo]:
    parts = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    kinds: list[Message] = []
    for detail in status.details:
        target = next(part for part in parts if detail.Is(part.DESCRIPTOR))
        assert target not in kinds, "a detail type stands twice"
        kinds.append(target)
        detail.Unpack(target)
    return parts
