"""A server whose answers a person computes on paper: text comes back reversed, labels are fixed; what it was asked is recorded.

Threads, not asyncio: so it stands beside a blocking client as well as beside an asynchronous one in the same process.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from trine.v1 import checkpoint_pb2, checkpoint_pb2_grpc, inference_pb2, inference_pb2_grpc

VERSION = checkpoint_pb2.Version(
    checkpoint="sentiment",
    number=2,
    state=checkpoint_pb2.VERSION_STATE_READY,
    engine_state=checkpoint_pb2.ENGINE_STATE_LIVE,
    architecture="BertForSequenceClassification",
    family=checkpoint_pb2.FAMILY_ENCODER,
    task=checkpoint_pb2.TASK_CLASSIFICATION,
    precision=checkpoint_pb2.PRECISION_FP32,
    labels=["negative", "positive"],
    max_input_tokens=128,
    parameters=4_000_000,
    size_bytes=16_500_000,
    digest="ab" * 32,
    parity=checkpoint_pb2.ParityReport(
        passed=True,
        checks=[checkpoint_pb2.ParityCheck(name="logits", value=2.5e-7, limit=1e-4, passed=True, count=64)],
    ),
    restarts=1,
    lineage=checkpoint_pb2.Lineage(
        base_checkpoint="org/base",
        base_digest="cd" * 32,
        training_data="reviews",
        license="apache-2.0",
        source="sentiment-en",
        source_revision="ef" * 20,
    ),
    resident_bytes=64_000_000,
)
REPORT = checkpoint_pb2.ExportReport(
    parity=VERSION.parity,
    reason="proved equal to the checkpoint",
    recipe="3",
    packages={"torch": "2.13.0", "onnx": "1.20"},
    stage_seconds={"export": 2.5},
    network_isolation="network namespace",
    limits={"descriptors": 256},
)
VERSION.create_time.FromSeconds(1_790_000_000)
VERSION.load_duration.FromMilliseconds(250)

USAGE = inference_pb2.Usage(input_tokens=5, output_tokens=3, cached_tokens=2)
STOP = inference_pb2.FINISH_REASON_STOP
STOP_SEQUENCE = inference_pb2.FINISH_REASON_STOP_SEQUENCE
LOGPROB = inference_pb2.TokenLogprob(
    token_id=3,
    text="x",
    logprob=-0.5,
    alternatives=[inference_pb2.Alternative(token_id=4, text="y", logprob=-0.25)],
)

SEGMENT = inference_pb2.Segment(
    source_begin=1, source_end=4, target_begin=2, target_end=5, finish_reason=STOP
)

HYPOTHESES = [
    inference_pb2.Hypothesis(text="best", score=-0.5, finish_reason=STOP, output_tokens=3),
    inference_pb2.Hypothesis(
        text="next", score=-0.75, finish_reason=STOP_SEQUENCE, stop_token_id=0, output_tokens=2
    ),
]


def sentiment(**aliases: int) -> checkpoint_pb2.Checkpoint:
    """The one checkpoint, whose `live` is its one version."""
    return checkpoint_pb2.Checkpoint(name="sentiment", versions=[VERSION], aliases={"live": 2, **aliases})


def said(item: Any) -> str:
    """What an input says last."""
    messages = getattr(item, "messages", ())
    return str(messages[-1].content if messages else item.text)


def ending(request: Any) -> dict[str, Any]:
    """How a text ends: by the first stop that the request names. Segments are told of what is not split, for a change."""
    logprobs = [LOGPROB] if request.HasField("logprobs") else []
    fields = {"finish_reason": STOP_SEQUENCE, "usage": USAGE, "logprobs": logprobs}
    if getattr(request, "split", None) == inference_pb2.SPLIT_NONE:
        fields["segments"] = [SEGMENT]
    if request.HasField("beam_search") and not hasattr(request, "split"):
        fields["hypotheses"] = HYPOTHESES
    if request.stop:
        return {**fields, "stop_string": request.stop[0]}
    if request.stop_token_ids:
        return {**fields, "stop_token_id": request.stop_token_ids[0]}
    return {**fields, "finish_reason": STOP}


def entities(text: str) -> inference_pb2.TokenClassification:
    """The first word."""
    word = text.split(maxsplit=1)[0]
    entity = inference_pb2.Entity(label="PER", score=0.5, text=word, begin=0, end=len(word))
    return inference_pb2.TokenClassification(entities=[entity], usage=USAGE)


def vector(text: str) -> inference_pb2.Embedding:
    """The text's length and -0.5."""
    return inference_pb2.Embedding(packed=struct.pack("<ff", len(text), -0.5), usage=USAGE)


class FakeServer(
    inference_pb2_grpc.InferenceServiceServicer,
    checkpoint_pb2_grpc.CheckpointServiceServicer,
    health_pb2_grpc.HealthServicer,  # type: ignore[misc]  # has no stubs
):
    """`failures` are raised first, one for each call; a stream of the checkpoint "endless" ends only when its caller leaves."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.failures: list[status_pb2.Status] = []
        self.left = threading.Event()
        self.stages = ["read", "export", "verify", "publish"]
        self.registered = VERSION
        self.reports = [REPORT]
        self.pages = [["alpha", "beta"], ["gamma"]]
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, self._server)
        checkpoint_pb2_grpc.add_CheckpointServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait(10)

    def _take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        if self.failures:
            context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))

    # --- inference ---------------------------------------------------------------------------------------------------

    def Classify(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        labels = [
            inference_pb2.Label(name="positive", score=0.75),
            inference_pb2.Label(name="negative", score=0.25),
        ]
        result = inference_pb2.Classification(labels=labels[: request.top_k or 2], usage=USAGE)
        return inference_pb2.ClassifyResponse(
            checkpoint="sentiment:2", results=[result] * len(request.inputs)
        )

    def ClassifyTokens(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        results = [entities(item.text) for item in request.inputs]
        return inference_pb2.ClassifyTokensResponse(checkpoint="ner:1", results=results)

    def Embed(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        results = [vector(item.text) for item in request.inputs]
        return inference_pb2.EmbedResponse(checkpoint="mini:1", results=results)

    def StreamClassify(self, requests: Any, context: Any) -> Iterator[Any]:
        def result(text: str) -> Any:
            labels = [inference_pb2.Label(name=text, score=0.5)]
            return inference_pb2.Classification(labels=labels, usage=USAGE)

        return self._outcomes(inference_pb2.StreamClassifyResponse, requests, result, context)

    def StreamClassifyTokens(self, requests: Any, context: Any) -> Iterator[Any]:
        return self._outcomes(inference_pb2.StreamClassifyTokensResponse, requests, entities, context)

    def StreamEmbed(self, requests: Any, context: Any) -> Iterator[Any]:
        return self._outcomes(inference_pb2.StreamEmbedResponse, requests, vector, context)

    def _outcomes(
        self, response: Any, requests: Any, result: Callable[[str], Any], context: Any
    ) -> Iterator[Any]:
        """In pairs, the later one first; the text "bad" is refused, "break" ends the stream."""
        context.add_callback(self.left.set)
        held: list[Any] = []
        for request in requests:
            self.requests.append(request)
            if request.input.text == "break":
                context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
            if request.input.text == "bad":
                held.append(response(id=request.id, error=self.failures.pop(0)))
            else:
                held.append(response(id=request.id, checkpoint="any:1", result=result(request.input.text)))
            if len(held) == 2:
                yield from reversed(held)
                held = []
        yield from held

    def Generate(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        results = [
            inference_pb2.Generation(text=said(item)[::-1], **ending(request)) for item in request.inputs
        ]
        return inference_pb2.GenerateResponse(checkpoint="verse:1", results=results)

    def Translate(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        results = [
            inference_pb2.Translation(text=said(item)[::-1], **ending(request)) for item in request.inputs
        ]
        return inference_pb2.TranslateResponse(checkpoint="en-fr:1", results=results)

    def Summarize(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        results = [inference_pb2.Summary(text=said(item)[::-1], **ending(request)) for item in request.inputs]
        return inference_pb2.SummarizeResponse(checkpoint="news:1", results=results)

    def StreamSummarize(self, request: Any, context: Any) -> Iterator[Any]:
        self._take(request, context)
        return self._deltas(inference_pb2.StreamSummarizeResponse, request, context)

    def StreamGenerate(self, request: Any, context: Any) -> Iterator[Any]:
        self._take(request, context)
        return self._deltas(inference_pb2.StreamGenerateResponse, request, context)

    def StreamTranslate(self, request: Any, context: Any) -> Iterator[Any]:
        self._take(request, context)
        return self._deltas(inference_pb2.StreamTranslateResponse, request, context)

    def _deltas(self, response: Any, request: Any, context: Any) -> Iterator[Any]:
        """The last input first, so that a reader who trusts the order of arrival is found out."""
        context.add_callback(self.left.set)
        while request.checkpoint == "endless" and context.is_active():
            yield response(checkpoint="endless:1", text="x")
            time.sleep(0.002)
        for index, item in reversed(list(enumerate(request.inputs))):
            for character in said(item)[::-1]:
                yield response(checkpoint="verse:1", input_index=index, text=character)
            yield response(checkpoint="verse:1", input_index=index, **ending(request))

    def Check(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if request.service not in {"", "sentiment", "broken"}:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        serving = health_pb2.HealthCheckResponse
        status = serving.NOT_SERVING if request.service == "broken" else serving.SERVING
        return health_pb2.HealthCheckResponse(status=status)

    # --- administration ----------------------------------------------------------------------------------------------

    def RegisterCheckpoint(self, request: Any, context: Any) -> Iterator[Any]:
        self._take(request, context)
        context.add_callback(self.left.set)
        for stage in self.stages:
            yield checkpoint_pb2.RegisterCheckpointResponse(
                stage=checkpoint_pb2.Stage.Value(f"STAGE_{stage.upper()}"),
                fraction=0.5,
                message=f"at {stage}",
            )
        while request.name == "endless" and context.is_active():
            yield checkpoint_pb2.RegisterCheckpointResponse(stage=checkpoint_pb2.STAGE_EXPORT)
            time.sleep(0.002)
        yield checkpoint_pb2.RegisterCheckpointResponse(
            stage=checkpoint_pb2.STAGE_PUBLISH, fraction=1, version=self.registered, existing=True
        )

    def GetCheckpoint(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.GetCheckpointResponse(checkpoint=sentiment())

    def ListCheckpoints(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        page = int(request.page_token or 0)
        found = [checkpoint_pb2.Checkpoint(name=name, versions=[VERSION]) for name in self.pages[page]]
        token = str(page + 1) if page + 1 < len(self.pages) else ""
        return checkpoint_pb2.ListCheckpointsResponse(checkpoints=found, next_page_token=token)

    def LoadCheckpoint(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.LoadCheckpointResponse(version=VERSION)

    def UnloadCheckpoint(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.UnloadCheckpointResponse(version=VERSION)

    def ImportCheckpoint(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.ImportCheckpointResponse(version=VERSION, existing=True)

    def SetAlias(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.SetAliasResponse(checkpoint=sentiment(**{request.alias: 1}))

    def DeleteAlias(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.DeleteAliasResponse(checkpoint=sentiment())

    def WatchCheckpoints(self, request: Any, context: Any) -> Iterator[Any]:
        """Without a name it ends after a deletion; of a name it ends only when its caller leaves."""
        self._take(request, context)
        context.add_callback(self.left.set)
        yield checkpoint_pb2.WatchCheckpointsResponse(checkpoint=sentiment())
        yield checkpoint_pb2.WatchCheckpointsResponse(current=True)
        while request.checkpoint and context.is_active():
            time.sleep(0.002)
        gone = checkpoint_pb2.Checkpoint(name="gone")
        yield checkpoint_pb2.WatchCheckpointsResponse(checkpoint=gone, deleted=True)

    def GetExportReport(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        report = self.reports[0] if self.reports else None
        return checkpoint_pb2.GetExportReportResponse(version=VERSION, report=report)

    def ListArchitectures(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        tasks = [checkpoint_pb2.TASK_TRANSLATION, checkpoint_pb2.TASK_SUMMARIZATION]
        row = checkpoint_pb2.Architecture(
            name="T5ForConditionalGeneration", family=checkpoint_pb2.FAMILY_ENCODER_DECODER, tasks=tasks
        )
        return checkpoint_pb2.ListArchitecturesResponse(architectures=[row])

    def DeleteCheckpoint(self, request: Any, context: Any) -> Any:
        self._take(request, context)
        return checkpoint_pb2.DeleteCheckpointResponse()


def status(
    code: grpc.StatusCode, reason: str, message: str, *more: Message, domain: str = "trine"
) -> status_pb2.Status:
    """A rich status as the server sends it."""
    details = [AnyMessage() for _ in range(1 + len(more))]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    for packed, detail in zip(details[1:], more, strict=True):
        packed.Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=details)


def violation(field: str) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field=field, description="wrong")]
    )


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(round(seconds * 1e9))
    return info
