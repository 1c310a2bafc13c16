"""The listeners: health, reflection, ports, drain."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.unit.front.wire.fakes import FakeAdministration, FakeInference, FakeStatus
from tests.unit.front.wire.rig import Rig, refused, running, servers, settings
from trine import errors
from trine.telemetry.metrics import Metrics
from trine.v1 import inference_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

REQUEST = inference_pb2.ClassifyRequest(checkpoint="known", inputs=[inference_pb2.ClassifyInput(text="a")])


async def check(channel: grpc.aio.Channel, name: str = "") -> int:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(response.status)


async def test_health_follows_the_status_on_both_ports(rig: Rig) -> None:
    for channel in (rig.channel, rig.admin_channel):
        assert await check(channel) == NOT_SERVING
        rig.status.tell("", True)
        rig.status.tell("known", True)
        assert (await check(channel), await check(channel, "known")) == (SERVING, SERVING)
        rig.status.tell("known", False)
        assert (await check(channel), await check(channel, "known")) == (SERVING, NOT_SERVING)
        rig.status.tell("", False)


async def test_health_of_an_unknown_name(rig: Rig) -> None:
    stub = health_pb2_grpc.HealthStub(rig.channel)
    refusal = await refused(stub.Check(health_pb2.HealthCheckRequest(service="nobody")))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_the_health_of_a_deleted_name_is_forgotten(rig: Rig) -> None:
    rig.status.tell("known", False)
    assert await check(rig.channel, "known") == NOT_SERVING
    rig.status.tell("known", None)
    call = health_pb2_grpc.HealthStub(rig.channel).Check(health_pb2.HealthCheckRequest(service="known"))
    assert (await refused(call)).code is grpc.StatusCode.NOT_FOUND


async def test_a_watch_tells_every_change_and_ends_with_the_server(rig: Rig) -> None:
    watch = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest(service="known"))
    assert (await watch.read()).status == SERVICE_UNKNOWN
    rig.status.tell("known", True)
    assert (await watch.read()).status == SERVING
    rig.status.tell("other", True)
    rig.status.tell("known", False)
    assert (await watch.read()).status == NOT_SERVING
    rig.status.tell("known", True)
    assert (await watch.read()).status == SERVING
    rig.servers.enter_drain()
    assert (await watch.read()).status == NOT_SERVING
    async with asyncio.timeout(20):  # a watch that did not end would hold the stop for the whole grace
        await rig.servers.stop(60.0)
    assert await watch.read() is grpc.aio.EOF
    assert await watch.code() is grpc.StatusCode.OK


async def test_drain_answers_calls_and_lets_those_that_run_finish(rig: Rig) -> None:
    rig.status.tell("", True)
    rig.servers.enter_drain()
    assert await check(rig.channel) == NOT_SERVING
    rig.status.tell("", True)
    assert await check(rig.channel) == NOT_SERVING, "nothing becomes ready again after a drain began"
    rig.inference.gate.clear()
    call = asyncio.ensure_future(rig.stub.Classify(REQUEST))
    await rig.inference.entered.wait()
    stopping = asyncio.create_task(rig.servers.stop(30.0))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:  # the listener closes as soon as the loop turns
            await check(rig.admin_channel)
    # grpc's core cancels a call that arrives in the very moment of the shutdown; all later ones find nobody.
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert not stopping.done()
    rig.inference.gate.set()
    assert (await call).checkpoint == "known:1"
    await stopping


async def test_calls_beyond_the_grace_are_cancelled(rig: Rig) -> None:
    rig.inference.gate.clear()
    call = asyncio.ensure_future(rig.stub.Classify(REQUEST))
    await rig.inference.entered.wait()
    async with asyncio.timeout(20):
        await rig.servers.stop(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        await rig.inference.closed.wait()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def services(channel: grpc.Channel) -> set[str]:
    database = ProtoReflectionDescriptorDatabase(channel)
    return set(await asyncio.to_thread(database.get_services))


async def test_reflection_lists_the_services_of_each_port(rig: Rig) -> None:
    common = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    for port, name in zip(rig.ports, ("InferenceService", "CheckpointService"), strict=True):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await services(channel) == {f"trine.v1.{name}", *common}


@pytest.mark.parametrize("options", [settings(reflection=False)])
async def test_reflection_can_be_off(rig: Rig) -> None:
    stream: Any = rig.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stream(iter([b""])):
            pass
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("field", "setting", "taken"),
    [("grpc_port", "TRINE_GRPC_PORT", 0), ("admin_port", "TRINE_ADMIN_PORT", 1)],
)
async def test_a_taken_port_is_named_with_its_setting(rig: Rig, field: str, setting: str, taken: int) -> None:
    port = rig.ports[taken]
    other = servers(settings(**{field: port}), FakeInference(), FakeAdministration(), FakeStatus(), Metrics())
    with pytest.raises(errors.NotPossible) as caught:
        await other.start()
    assert str(port) in caught.value.message
    assert setting in caught.value.message
    assert await check(rig.channel) == NOT_SERVING, "the first server still has its port"


async def test_an_ipv6_address_is_spelled_as_grpc_wants_it() -> None:
    made = servers(settings(host="::1"), FakeInference(), FakeAdministration(), FakeStatus(), Metrics())
    port, _ = await made.start()
    async with grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
        assert await check(channel) == NOT_SERVING
    await made.stop(0.0)


def test_the_servers_run_on_uvloop() -> None:
    """The loop of the real server; the other tests use asyncio's own."""

    async def scenario() -> None:
        async with running(settings()) as rig:
            assert (await rig.stub.Classify(REQUEST)).checkpoint == "known:1"
            await refused(rig.stub.Classify(inference_pb2.ClassifyRequest()))
            rig.inference.gate.clear()
            request = inference_pb2.StreamGenerateRequest(
                checkpoint="known", inputs=[inference_pb2.GenerateInput(text="ab")]
            )
            call = rig.stub.StreamGenerate(request)
            assert (await call.read()).text == "a"
            call.cancel()
            await rig.inference.closed.wait()

    uvloop.run(scenario())
