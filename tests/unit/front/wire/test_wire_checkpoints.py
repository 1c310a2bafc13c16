"""Administration over the wire: what serving is asked, and what its views look like in protobuf."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused
from trine import errors
from trine.artifact import Family, Precision, Task
from trine.export.plan import Gate
from trine.front.serving.administration import Filter
from trine.front.serving.views import Progress
from trine.registry.records import Lineage, VersionState
from trine.registry.source import Folder, Hub
from trine.v1 import checkpoint_pb2 as pb


async def test_a_live_version_in_full(rig: Rig) -> None:
    response = await rig.admin.LoadCheckpoint(pb.LoadCheckpointRequest(checkpoint="known:1"))
    version = response.version
    assert rig.administration.calls == [("load", "known:1")]
    assert (version.checkpoint, version.number, version.reason) == ("known", 1, "")
    assert (version.state, version.engine_state) == (pb.VERSION_STATE_READY, pb.ENGINE_STATE_LIVE)
    assert version.architecture == "BertForSequenceClassification"
    assert (version.family, version.task, version.precision) == (
        pb.FAMILY_ENCODER,
        pb.TASK_CLASSIFICATION,
        pb.PRECISION_FP32,
    )
    assert list(version.labels) == ["bad", "good"]
    assert (version.max_input_tokens, version.max_output_tokens) == (512, 0)
    assert (version.parameters, version.size_bytes, version.digest) == (123, 4096, "d" * 64)
    assert version.create_time.ToNanoseconds() == 1_700_000_000_250_000_000
    assert version.load_duration.ToNanoseconds() == 1_500_000_000
    assert (version.restarts, version.resident_bytes) == (2, 7_000)
    assert version.lineage == pb.Lineage(
        base_checkpoint="org/base",
        base_digest="b" * 64,
        training_data="reviews",
        license="apache-2.0",
        source="sentiment-en",
        source_revision="c" * 40,
    )
    assert version.parity == pb.ParityReport(
        passed=True,
        checks=[pb.ParityCheck(name="logits", value=1e-6, limit=1e-4, passed=True, count=64)],
    )


async def test_a_checkpoint_with_a_version_that_failed(rig: Rig) -> None:
    response = await rig.admin.GetCheckpoint(pb.GetCheckpointRequest(checkpoint="known"))
    checkpoint = response.checkpoint
    assert (checkpoint.name, dict(checkpoint.aliases)) == ("known", {"live": 1})
    failed = checkpoint.versions[1]
    assert (failed.state, failed.engine_state) == (pb.VERSION_STATE_FAILED, pb.ENGINE_STATE_UNLOADED)
    assert failed.reason == "the gate refused it"
    assert not failed.HasField("load_duration")


async def test_unload_list_and_delete(rig: Rig) -> None:
    unloaded = await rig.admin.UnloadCheckpoint(pb.UnloadCheckpointRequest(checkpoint="known"))
    assert unloaded.version.engine_state == pb.ENGINE_STATE_UNLOADED
    page = await rig.admin.ListCheckpoints(pb.ListCheckpointsRequest(page_size=7, page_token="a"))
    assert ([c.name for c in page.checkpoints], page.next_page_token) == (["known"], "known")
    await rig.admin.DeleteCheckpoint(pb.DeleteCheckpointRequest(checkpoint="known:1"))
    assert rig.administration.calls == [
        ("unload", "known"),
        ("list", (7, "a", Filter())),
        ("delete", "known:1"),
    ]


async def test_a_registration_tells_its_stages(rig: Rig) -> None:
    request = pb.RegisterCheckpointRequest(name="known", path="/x", hold=True)
    responses = [response async for response in rig.admin.RegisterCheckpoint(request)]
    assert [(r.stage, r.fraction, r.message) for r in responses] == [
        (pb.STAGE_READ, 1.0, "read the folder"),
        (pb.STAGE_EXPORT, 0.5, "half of it"),
        (pb.STAGE_PUBLISH, 1.0, "known:1 is ready"),
    ]
    assert [r.HasField("version") for r in responses] == [False, False, True]
    assert (responses[2].version.number, responses[2].existing) == (1, True)
    (call,) = rig.administration.calls
    assert call[1] == {
        "name": "known",
        "source": Folder("/x"),
        "task": None,
        "precision": None,
        "gate": Gate.ENFORCE,
        "hold": True,
        "claims": Lineage(),
    }


@pytest.mark.parametrize("revision", ["", "v2"])
async def test_a_hubs_repository_is_a_source_and_claims_are_passed_on(rig: Rig, revision: str) -> None:
    request = pb.RegisterCheckpointRequest(
        name="known",
        hub=pb.HubSource(repo_id="org/x", revision=revision),
        base_checkpoint="org/base",
        training_data="two\nlines",
        license="mit",
    )
    async for _ in rig.admin.RegisterCheckpoint(request):
        pass
    (call,) = rig.administration.calls
    assert call[1]["source"] == Hub("org/x", revision or "main")
    assert call[1]["claims"] == Lineage("org/base", training_data="two\nlines", license="mit")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "path"),
        ({"path": ""}, "path"),
        ({"hub": pb.HubSource()}, "hub.repo_id"),
        ({"path": "/x", "license": "a\x1b[2J"}, "license"),
        ({"path": "/x", "base_checkpoint": "b" * 201}, "base_checkpoint"),
        ({"path": "/x", "training_data": "t" * 4001}, "training_data"),
        ({"path": "/x", "task": 99}, "task"),
        ({"path": "/x", "precision": 99}, "precision"),
        ({"path": "/x", "gate": 99}, "gate"),
    ],
)
async def test_what_is_wrong_with_a_registration_is_named(
    rig: Rig, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(rig.admin.RegisterCheckpoint(pb.RegisterCheckpointRequest(name="a", **fields)))
    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert rig.administration.calls == []


async def test_the_list_is_filtered(rig: Rig) -> None:
    request = pb.ListCheckpointsRequest(
        task=pb.TASK_EMBEDDING,
        family=pb.FAMILY_ENCODER_DECODER,
        state=pb.VERSION_STATE_FAILED,
        base_checkpoint="org/base",
    )
    await rig.admin.ListCheckpoints(request)
    wanted = Filter(Task.EMBEDDING, Family.ENCODER_DECODER, VersionState.FAILED, "org/base")
    assert rig.administration.calls == [("list", (0, "", wanted))]


@pytest.mark.parametrize("field", ["task", "family", "state"])
async def test_a_filter_that_is_not_known_lists_nothing(rig: Rig, field: str) -> None:
    unknown: dict[str, Any] = {field: 99}
    refusal = await refused(rig.admin.ListCheckpoints(pb.ListCheckpointsRequest(**unknown)))
    assert refusal.fields == [field]
    assert rig.administration.calls == []


async def test_import_and_aliases(rig: Rig) -> None:
    request = pb.ImportCheckpointRequest(name="known", path="/a", hold=True)
    imported = await rig.admin.ImportCheckpoint(request)
    assert (imported.version.number, imported.existing) == (1, True)
    moved = await rig.admin.SetAlias(pb.SetAliasRequest(checkpoint="known:1", alias="canary"))
    assert dict(moved.checkpoint.aliases) == {"live": 1, "canary": 1}
    left = await rig.admin.DeleteAlias(pb.DeleteAliasRequest(checkpoint="known@canary"))
    assert dict(left.checkpoint.aliases) == {"live": 1}
    assert rig.administration.calls == [
        ("import", ("known", "/a", True)),
        ("set_alias", ("known:1", "canary")),
        ("delete_alias", "known@canary"),
    ]


async def test_an_import_needs_a_path(rig: Rig) -> None:
    refusal = await refused(rig.admin.ImportCheckpoint(pb.ImportCheckpointRequest(name="known")))
    assert refusal.fields == ["path"]


async def test_a_watch_ends_when_its_caller_leaves(rig: Rig) -> None:
    call = rig.admin.WatchCheckpoints(pb.WatchCheckpointsRequest(checkpoint="known"))
    first, second, third = [await call.read() for _ in range(3)]
    assert (first.checkpoint.name, first.current, first.deleted) == ("known", False, False)
    assert first.checkpoint.versions[0].number == 1
    assert second == pb.WatchCheckpointsResponse(current=True)
    assert third == pb.WatchCheckpointsResponse(checkpoint=pb.Checkpoint(name="known"), deleted=True)
    call.cancel()
    async with asyncio.timeout(10):
        await rig.administration.unwatched.wait()


async def test_a_report_in_full_and_none(rig: Rig) -> None:
    request = pb.GetExportReportRequest(checkpoint="known")
    told = await rig.admin.GetExportReport(request)
    assert told.version.number == 1
    assert told.report == pb.ExportReport(
        parity=told.version.parity,
        reason="proved",
        recipe="3",
        packages={"torch": "2.13.0"},
        stage_seconds={"export": 1.5},
        network_isolation="audit hook",
        limits={"descriptors": 256},
    )
    rig.administration.told = None
    assert not (await rig.admin.GetExportReport(request)).HasField("report")


async def test_architectures(rig: Rig) -> None:
    (row,) = (await rig.admin.ListArchitectures(pb.ListArchitecturesRequest())).architectures
    assert (row.name, row.family) == ("T5ForConditionalGeneration", pb.FAMILY_ENCODER_DECODER)
    assert list(row.tasks) == [pb.TASK_TRANSLATION, pb.TASK_SUMMARIZATION]


async def test_a_registration_asks_for_task_precision_and_gate(rig: Rig) -> None:
    request = pb.RegisterCheckpointRequest(
        name="known",
        path="/x",
        task=pb.TASK_TRANSLATION,
        precision=pb.PRECISION_INT8,
        gate=pb.GATE_REPORT,
    )
    async for _ in rig.admin.RegisterCheckpoint(request):
        pass
    (call,) = rig.administration.calls
    assert (call[1]["task"], call[1]["precision"]) == (Task.TRANSLATION, Precision.INT8)
    assert call[1]["gate"] is Gate.REPORT


@pytest.mark.parametrize("stage", ["read", "export", "optimize", "quantize", "verify", "publish"])
async def test_every_stage_has_its_number(rig: Rig, stage: str) -> None:
    rig.administration.progress = [Progress(stage, 0.0, "")]
    call = rig.admin.RegisterCheckpoint(pb.RegisterCheckpointRequest(name="known", path="/x"))
    assert [pb.Stage.Name(r.stage) async for r in call] == [f"STAGE_{stage.upper()}"]


def test_every_state_task_and_family_of_ours_is_in_the_protos() -> None:
    states = {f"VERSION_STATE_{state.upper()}" for state in VersionState}
    assert states == set(pb.VersionState.keys()) - {"VERSION_STATE_UNSPECIFIED"}
    assert {f"TASK_{task.upper().replace('-', '_')}" for task in Task} == set(pb.Task.keys()) - {
        "TASK_UNSPECIFIED"
    }
    assert {f"PRECISION_{p.upper()}" for p in Precision} == set(pb.Precision.keys()) - {
        "PRECISION_UNSPECIFIED"
    }
    assert {f"GATE_{gate.upper()}" for gate in Gate} == set(pb.Gate.keys()) - {"GATE_UNSPECIFIED"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CheckpointNotFound("no such checkpoint", field="checkpoint"), grpc.StatusCode.NOT_FOUND),
        (errors.UnsafeCheckpoint("pickle weights"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.NotPossible("it is loaded"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_refusals(rig: Rig, error: errors.TrineError, code: grpc.StatusCode) -> None:
    rig.administration.error = error
    calls = [
        rig.admin.RegisterCheckpoint(pb.RegisterCheckpointRequest(name="known", path="/x")),
        rig.admin.GetCheckpoint(pb.GetCheckpointRequest()),
        rig.admin.ListCheckpoints(pb.ListCheckpointsRequest()),
        rig.admin.LoadCheckpoint(pb.LoadCheckpointRequest()),
        rig.admin.UnloadCheckpoint(pb.UnloadCheckpointRequest()),
        rig.admin.DeleteCheckpoint(pb.DeleteCheckpointRequest()),
        rig.admin.ImportCheckpoint(pb.ImportCheckpointRequest(path="/x")),
        rig.admin.SetAlias(pb.SetAliasRequest()),
        rig.admin.DeleteAlias(pb.DeleteAliasRequest()),
        rig.admin.WatchCheckpoints(pb.WatchCheckpointsRequest()),
        rig.admin.GetExportReport(pb.GetExportReportRequest()),
        rig.admin.ListArchitectures(pb.ListArchitecturesRequest()),
    ]
    for call in calls:
        refusal = await refused(call)
        assert (refusal.code, refusal.info.reason) == (code, error.reason)
