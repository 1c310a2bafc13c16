"""Administration over the wire: what serving is asked, and what its views look like in protobuf."""

from __future__ import annotations

import grpc
import pytest

from tests.unit.front.wire.rig import Rig, refused
from trine import errors
from trine.artifact import Precision, Task
from trine.export.plan import Gate
from trine.front.serving.views import Progress
from trine.registry.records import VersionState
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
    assert version.restarts == 2
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
    assert rig.administration.calls == [("unload", "known"), ("list", (7, "a")), ("delete", "known:1")]


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
        "path": "/x",
        "task": None,
        "precision": None,
        "gate": Gate.ENFORCE,
        "hold": True,
    }


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
    ]
    for call in calls:
        refusal = await refused(call)
        assert (refusal.code, refusal.info.reason) == (code, error.reason)
