"""InferenceService: requests validated and unpacked, frames packed. Front process, event loop only.

What is checked here is what the request alone tells; limits that depend on settings are admission's, those that depend on the
checkpoint are the engine's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from trine import frames
from trine.artifact import Task
from trine.errors import InvalidInput
from trine.front.serving.inference import Caller, Inference
from trine.front.wire import generation
from trine.front.wire.status import Context
from trine.v1 import inference_pb2, inference_pb2_grpc

_PRIORITIES = {
    inference_pb2.PRIORITY_UNSPECIFIED: 2,
    inference_pb2.PRIORITY_LOW: 1,
    inference_pb2.PRIORITY_NORMAL: 2,
    inference_pb2.PRIORITY_HIGH: 3,
}


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Raises errors of trine.errors; the guard turns them into statuses."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Classify(
        self, request: inference_pb2.ClassifyRequest, context: Context
    ) -> inference_pb2.ClassifyResponse:
        validate_classify(request)
        checkpoint, results = await self._inference.classify(
            request.checkpoint,
            [item.text for item in request.inputs],
            top_k=request.top_k,
            caller=_caller(request.priority, context),
        )
        return inference_pb2.ClassifyResponse(
            checkpoint=checkpoint, results=[_classification(result) for result in results]
        )

    async def Generate(
        self, request: inference_pb2.GenerateRequest, context: Context
    ) -> inference_pb2.GenerateResponse:
        checkpoint, results = await self._generate(request, context, Task.GENERATION)
        return inference_pb2.GenerateResponse(
            checkpoint=checkpoint,
            results=[inference_pb2.Generation(**generation.told(result)) for result in results],
        )

    async def Translate(
        self, request: inference_pb2.TranslateRequest, context: Context
    ) -> inference_pb2.TranslateResponse:
        checkpoint, results = await self._generate(request, context, Task.TRANSLATION)
        return inference_pb2.TranslateResponse(
            checkpoint=checkpoint,
            results=[
                inference_pb2.Translation(**generation.told(result), segments=generation.segments(result))
                for result in results
            ],
        )

    async def Summarize(
        self, request: inference_pb2.SummarizeRequest, context: Context
    ) -> inference_pb2.SummarizeResponse:
        checkpoint, results = await self._generate(request, context, Task.SUMMARIZATION)
        return inference_pb2.SummarizeResponse(
            checkpoint=checkpoint,
            results=[inference_pb2.Summary(**generation.told(result)) for result in results],
        )

    async def StreamGenerate(
        self, request: inference_pb2.StreamGenerateRequest, context: Context
    ) -> AsyncIterator[inference_pb2.StreamGenerateResponse]:
        async with aclosing(self._stream(request, context, Task.GENERATION)) as deltas:
            async for checkpoint, delta in deltas:
                yield inference_pb2.StreamGenerateResponse(
                    checkpoint=checkpoint,
                    input_index=delta.input_index,
                    **generation.told(delta),
                )

    async def StreamTranslate(
        self, request: inference_pb2.StreamTranslateRequest, context: Context
    ) -> AsyncIterator[inference_pb2.StreamTranslateResponse]:
        async with aclosing(self._stream(request, context, Task.TRANSLATION)) as deltas:
            async for checkpoint, delta in deltas:
                yield inference_pb2.StreamTranslateResponse(
                    checkpoint=checkpoint,
                    input_index=delta.input_index,
                    **generation.told(delta),
                    segments=generation.segments(delta),
                )

    async def StreamSummarize(
        self, request: inference_pb2.StreamSummarizeRequest, context: Context
    ) -> AsyncIterator[inference_pb2.StreamSummarizeResponse]:
        async with aclosing(self._stream(request, context, Task.SUMMARIZATION)) as deltas:
            async for checkpoint, delta in deltas:
                yield inference_pb2.StreamSummarizeResponse(
                    checkpoint=checkpoint,
                    input_index=delta.input_index,
                    **generation.told(delta),
                )

    async def _generate(
        self, request: generation.Request, context: Context, task: Task
    ) -> tuple[str, list[frames.Generated]]:
        validate_generation(request)
        return await self._inference.generate(
            request.checkpoint,
            generation.writing_of(request),
            task=task,
            caller=_caller(request.priority, context),
        )

    async def _stream(
        self, request: generation.Request, context: Context, task: Task
    ) -> AsyncGenerator[tuple[str, frames.Delta]]:
        validate_generation(request)
        steps = self._inference.stream(
            request.checkpoint,
            generation.writing_of(request),
            task=task,
            caller=_caller(request.priority, context),
        )
        async with aclosing(steps):
            async for checkpoint, deltas in steps:
                for delta in deltas:
                    yield checkpoint, delta


def validate_classify(request: inference_pb2.ClassifyRequest) -> None:
    """Raise InvalidInput that names the field."""
    empty = [not item.text for item in request.inputs]
    _validate_batch(request.checkpoint, empty, request.priority)


def validate_generation(request: generation.Request) -> None:
    """Raise InvalidInput that names the field. What is written how, is validated where it is converted."""
    empty = [generation.is_empty(item) for item in request.inputs]
    _validate_batch(request.checkpoint, empty, request.priority)


def _validate_batch(checkpoint: str, empty: Sequence[bool], priority: int) -> None:
    """`empty` tells of each input whether it says nothing."""
    if not checkpoint:
        raise InvalidInput("checkpoint must not be empty", field="checkpoint")
    if not empty:
        raise InvalidInput("inputs must not be empty", field="inputs")
    if any(empty):
        raise InvalidInput("text must not be empty", field=f"inputs[{empty.index(True)}].text")
    if priority not in _PRIORITIES:
        raise InvalidInput(f"{priority} is no priority", field="priority")


def _caller(priority: inference_pb2.Priority.ValueType, context: Context) -> Caller:
    return Caller(caller_of(context), _PRIORITIES[priority], context.time_remaining())


def caller_of(context: Context) -> str:
    """Who calls, for fairness: the peer's address without its port, which changes with every connection."""
    peer = context.peer()
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer


def _classification(result: frames.Classified) -> inference_pb2.Classification:
    labels = [inference_pb2.Label(name=name, score=score) for name, score in result.labels]
    return inference_pb2.Classification(labels=labels, usage=generation.usage(result.usage))
