"""What both clients ask of CheckpointService beside load and unload, and what they make of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.client.either import Either, answer, parts
from tests.unit.client.fake_server import FakeServer
from trine.client import Architecture, AsyncStream, Change, ExportReport, Lineage, Parity, ParityCheck
from trine.errors import InvalidInput
from trine.v1 import checkpoint_pb2 as pb


async def test_a_hubs_repository_is_named_as_such(client: Either, server: FakeServer) -> None:
    steps = client.register(
        "x",
        "hub:org/name",
        revision="v2",
        gate="report",
        base_checkpoint="org/base",
        training_data="reviews",
        license="mit",
    )
    await parts(steps)
    assert server.requests == [
        pb.RegisterCheckpointRequest(
            name="x",
            hub=pb.HubSource(repo_id="org/name", revision="v2"),
            gate=pb.GATE_REPORT,
            base_checkpoint="org/base",
            training_data="reviews",
            license="mit",
        )
    ]


async def test_a_folder_has_no_revision(client: Either, server: FakeServer) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.register("x", "/folder", revision="v2")
    assert caught.value.field == "hub"
    with pytest.raises(TypeError, match="precison"):
        client.register("x", "/folder", precison="fp32")
    assert server.requests == []


async def test_import(client: Either, server: FakeServer) -> None:
    version, existing = await answer(client.import_artifact("x", Path("/artifact"), hold=True))
    assert (version.reference, existing) == ("sentiment:2", True)
    assert server.requests == [pb.ImportCheckpointRequest(name="x", path="/artifact", hold=True)]


async def test_aliases(client: Either, server: FakeServer) -> None:
    moved = await answer(client.set_alias("sentiment:1", "canary"))
    assert moved.aliases == {"live": 2, "canary": 1}
    left = await answer(client.delete_alias("sentiment@canary"))
    assert left.aliases == {"live": 2}
    assert server.requests == [
        pb.SetAliasRequest(checkpoint="sentiment:1", alias="canary"),
        pb.DeleteAliasRequest(checkpoint="sentiment@canary"),
    ]


async def test_a_watch_tells_what_is_there_then_what_changes(client: Either) -> None:
    first, second, third = await parts(client.watch())
    assert (first.checkpoint.name, first.deleted, first.current) == ("sentiment", False, False)
    assert second == Change(None, False, True)
    assert (third.checkpoint.name, third.deleted) == ("gone", True)


async def test_leaving_a_watch_ends_it(client: Either, server: FakeServer) -> None:
    stream = client.watch("sentiment")
    if isinstance(stream, AsyncStream):
        async with stream:
            assert (await anext(stream)).checkpoint is not None
    else:
        with stream:
            assert next(stream).checkpoint is not None
    assert server.left.wait(10)


async def test_a_report_and_none(client: Either, server: FakeServer) -> None:
    assert await answer(client.export_report("sentiment:2")) == ExportReport(
        parity=Parity(True, (ParityCheck("logits", 2.5e-7, 1e-4, False, True, 64),)),
        reason="proved equal to the checkpoint",
        recipe="3",
        packages={"torch": "2.13.0", "onnx": "1.20"},
        stage_seconds={"export": 2.5},
        network_isolation="network namespace",
        limits={"descriptors": 256},
    )
    server.reports.clear()
    assert await answer(client.export_report("sentiment:2")) is None


async def test_architectures(client: Either) -> None:
    assert await answer(client.architectures()) == [
        Architecture("T5ForConditionalGeneration", "encoder-decoder", ("translation", "summarization"))
    ]


async def test_the_list_is_filtered_on_every_page(client: Either, server: FakeServer) -> None:
    await answer(client.list(task="embedding", family="encoder", state="ready", base_checkpoint="org/base"))
    assert server.requests == [
        pb.ListCheckpointsRequest(
            page_token=token,
            task=pb.TASK_EMBEDDING,
            family=pb.FAMILY_ENCODER,
            state=pb.VERSION_STATE_READY,
            base_checkpoint="org/base",
        )
        for token in ("", "1")
    ]


@pytest.mark.parametrize("field", ["task", "family", "state"])
async def test_a_filter_that_does_not_exist(client: Either, server: FakeServer, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await answer(client.list(**{field: "cooking"}))
    assert caught.value.field == field
    with pytest.raises(TypeError, match="labels"):
        await answer(client.list(labels=2))
    assert server.requests == []


async def test_where_a_version_comes_from(client: Either) -> None:
    (version,) = (await answer(client.get("sentiment"))).versions
    assert version.lineage == Lineage(
        "org/base", "cd" * 32, "reviews", "apache-2.0", "sentiment-en", "ef" * 20
    )
    assert version.resident_bytes == 64_000_000
