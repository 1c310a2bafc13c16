"""Failed calls become the errors that the server raised; streams left early are cancelled. For both clients."""

from __future__ import annotations

import gc
import socket

import grpc
import pytest

from tests.unit.client.either import Either, answer, parts
from tests.unit.client.fake_server import FakeServer, retry_after, status, violation
from trine import errors
from trine.client import AsyncClient, AsyncStream, Client

UNAVAILABLE = status(grpc.StatusCode.UNAVAILABLE, "ENGINE_LOST", "the engine died", retry_after(0.25))


async def test_reason_field_and_message_arrive(client: Either, server: FakeServer) -> None:
    server.failures.append(
        status(
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_INPUT",
            "the text is empty",
            violation("inputs[3].text"),
        )
    )
    with pytest.raises(errors.InvalidInput) as caught:
        await answer(client.classify("sentiment", "x"))
    assert caught.value.message == "the text is empty"
    assert caught.value.field == "inputs[3].text"
    assert caught.value.retry_after is None


async def test_the_pause_arrives(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "full", retry_after(0.5)))
    with pytest.raises(errors.Overloaded) as caught:
        await answer(client.generate("verse", "x"))
    assert caught.value.retry_after == 0.5
    assert len(server.requests) == 1, "RESOURCE_EXHAUSTED is not retried"


async def test_a_stream_raises_too(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_TASK", "it classifies"))
    stream = client.stream_generate("sentiment", "x")
    with pytest.raises(errors.WrongTask, match="it classifies"):
        await parts(stream)
    assert await parts(stream) == []


async def test_administration_raises_too(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.FAILED_PRECONDITION, "UNSAFE_CHECKPOINT", "pickle weights"))
    with pytest.raises(errors.UnsafeCheckpoint, match="pickle weights"):
        await parts(client.register("x", "/x"))
    server.failures.append(
        status(grpc.StatusCode.NOT_FOUND, "CHECKPOINT_NOT_FOUND", "no x", violation("checkpoint"))
    )
    with pytest.raises(errors.CheckpointNotFound) as caught:
        await answer(client.get("x"))
    assert caught.value.field == "checkpoint"


async def test_an_unknown_reason_is_a_bug(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.INTERNAL, "SOMETHING_NEW", "internal error"))
    with pytest.raises(errors.Bug, match="internal error"):
        await answer(client.classify("sentiment", "x"))


async def test_foreign_details_are_not_taken_for_ours(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.NOT_FOUND, "INVALID_INPUT", "x", domain="proxy.example"))
    with pytest.raises(errors.CheckpointNotFound):
        await answer(client.classify("sentiment", "x"))


async def test_health_of_an_unknown_name(client: Either) -> None:
    with pytest.raises(errors.CheckpointNotFound):
        await answer(client.health("nobody"))


async def test_unavailable_is_retried(client: Either, server: FakeServer) -> None:
    server.failures += [UNAVAILABLE, UNAVAILABLE]
    assert (await answer(client.generate("verse", "ab"))).text == "ba"
    assert len(server.requests) == 3


async def test_a_retried_failure_arrives_in_the_end(client: Either, server: FakeServer) -> None:
    server.failures += [UNAVAILABLE] * 9
    with pytest.raises(errors.EngineLost) as caught:
        await answer(client.classify("sentiment", "x"))
    assert caught.value.retry_after == 0.25
    assert len(server.requests) == 4


async def test_what_changes_something_is_not_retried(client: Either, server: FakeServer) -> None:
    server.failures += [UNAVAILABLE] * 2
    with pytest.raises(errors.EngineLost):
        await answer(client.load("sentiment"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_an_unreachable_server_is_named(kind: type[Client] | type[AsyncClient]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens: connections are refused
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        client: Either = kind(target, target)
        with pytest.raises(errors.TryLater, match=target):
            await answer(client.classify("sentiment", "x"))
        with pytest.raises(errors.TryLater, match=target):
            await answer(client.list())
        with pytest.raises(errors.TryLater, match=target):
            await parts(client.stream_generate("verse", "x"))
        await answer(client.close())


async def test_the_timeout_is_obeyed(client: Either, server: FakeServer) -> None:
    with pytest.raises(errors.DeadlineExceeded, match=server.target):
        await parts(client.stream_generate("endless", "x", timeout=0.2))


async def test_too_large_a_message(client: Either) -> None:
    with pytest.raises(errors.InvalidInput, match="larger than one message"):
        await answer(client.classify("sentiment", "x" * (5 << 20)))


async def test_a_call_that_the_port_does_not_offer(client: Either, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.UNIMPLEMENTED, "x", "", domain="grpc"))
    with pytest.raises(errors.NotPossible, match="does not offer"):
        await answer(client.list())


# --- leaving early ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["stream_generate", "stream_translate"])
async def test_leaving_the_context_cancels(client: Either, server: FakeServer, method: str) -> None:
    stream = getattr(client, method)("endless", "x")
    if isinstance(stream, AsyncStream):
        async with stream:
            assert (await anext(stream)).text == "x"
    else:
        with stream:
            assert next(stream).text == "x"
    assert server.left.wait(10)
    assert await parts(stream) == []


async def test_breaking_off_a_loop_cancels(client: Either, server: FakeServer) -> None:
    """Without a context: the stream has no name, so it ends when the loop lets go of it."""
    if isinstance(client, AsyncClient):
        async for _ in client.stream_generate("endless", "x"):
            break
    else:
        for _ in client.stream_generate("endless", "x"):
            break
    gc.collect()
    assert server.left.wait(10)


async def test_leaving_a_registration_cancels_it(client: Either, server: FakeServer) -> None:
    stream = client.register("endless", "/x")
    if isinstance(stream, AsyncStream):
        assert (await anext(stream)).stage == "read"
    else:
        assert next(stream).stage == "read"
    stream.close()
    assert server.left.wait(10)
