"""InferenceService: requests validated and unpacked, frames packed. Front process, event loop only.

What is checked here is what the request alone tells; limits that depend on settings are admission's, those that depend on the
checkpoint are the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import grpc

from trine import frames
from trine.artifact import Task
from trine.config import Settings
from trine.errors import InvalidInput, TrineError
from trine.front.serving.inference import Caller, Inference
from trine.front.serving.reading import Reading
from trine.front.wire import generation, reading
from trine.front.wire.status import Context, code_of, to_status
from trine.front.wire.streams import Streams
from trine.v1 import inference_pb2, inference_pb2_grpc

logger = logging.getLogger(__name__)

MAX_ID = 128
"""Characters of the id of a stream's input."""

R = TypeVar("R")
S = TypeVar(
    "S",
    inference_pb2.StreamClassifyRequest,
    inference_pb2.StreamClassifyTokensRequest,
    inference_pb2.StreamEmbedRequest,
)
Outcome = dict[str, Any]
"""Fields of a stream's response."""

_PRIORITIES = {
    inference_pb2.PRIORITY_UNSPECIFIED: 2,
    inference_pb2.PRIORITY_LOW: 1,
    inference_pb2.PRIORITY_NORMAL: 2,
    inference_pb2.PRIORITY_HIGH: 3,
}


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Raises errors of trine.errors; the guard turns them into statuses."""

    def __init__(self, inference: Inference, streams: Streams, settings: Settings) -> None:
        self._inference = inference
        self._streams = streams
        self._settings = settings

    async def Classify(
        self, request: inference_pb2.ClassifyRequest, context: Context
    ) -> inference_pb2.ClassifyResponse:
        work = reading.classifying(request, request.inputs)
        checkpoint, results = await self._read(request, work, _caller(request.priority, context))
        return inference_pb2.ClassifyResponse(
            checkpoint=checkpoint, results=[reading.classification(result) for result in results]
        )

    async def ClassifyTokens(
        self, request: inference_pb2.ClassifyTokensRequest, context: Context
    ) -> inference_pb2.ClassifyTokensResponse:
        work = reading.tagging(request, request.inputs)
        checkpoint, results = await self._read(request, work, _caller(request.priority, context))
        return inference_pb2.ClassifyTokensResponse(
            checkpoint=checkpoint, results=[reading.token_classification(result) for result in results]
        )

    async def Embed(
        self, request: inference_pb2.EmbedRequest, context: Context
    ) -> inference_pb2.EmbedResponse:
        work = reading.embedding(request, request.inputs)
        checkpoint, results = await self._read(request, work, _caller(request.priority, context))
        return inference_pb2.EmbedResponse(
            checkpoint=checkpoint, results=[reading.vector(result, request.format) for result in results]
        )

    async def StreamClassify(
        self, requests: AsyncIterator[inference_pb2.StreamClassifyRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamClassifyResponse]:
        async def result(request: inference_pb2.StreamClassifyRequest) -> Outcome:
            work = reading.classifying(request, [request.input])
            checkpoint, results = await self._read(request, work, self._streaming(request.priority, context))
            return {"checkpoint": checkpoint, "result": reading.classification(results[0])}

        async with aclosing(self._outcomes(requests, result)) as outcomes:
            async for outcome in outcomes:
                yield inference_pb2.StreamClassifyResponse(**outcome)

    async def StreamClassifyTokens(
        self, requests: AsyncIterator[inference_pb2.StreamClassifyTokensRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamClassifyTokensResponse]:
        async def result(request: inference_pb2.StreamClassifyTokensRequest) -> Outcome:
            work = reading.tagging(request, [request.input])
            checkpoint, results = await self._read(request, work, self._streaming(request.priority, context))
            return {"checkpoint": checkpoint, "result": reading.token_classification(results[0])}

        async with aclosing(self._outcomes(requests, result)) as outcomes:
            async for outcome in outcomes:
                yield inference_pb2.StreamClassifyTokensResponse(**outcome)

    async def StreamEmbed(
        self, requests: AsyncIterator[inference_pb2.StreamEmbedRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamEmbedResponse]:
        async def result(request: inference_pb2.StreamEmbedRequest) -> Outcome:
            work = reading.embedding(request, [request.input])
            checkpoint, results = await self._read(request, work, self._streaming(request.priority, context))
            return {"checkpoint": checkpoint, "result": reading.vector(results[0], request.format)}

        async with aclosing(self._outcomes(requests, result)) as outcomes:
            async for outcome in outcomes:
                yield inference_pb2.StreamEmbedResponse(**outcome)

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

    async def _read(self, request: reading.Request, work: Reading[R], caller: Caller) -> tuple[str, list[R]]:
        _validate_batch(request.checkpoint, [not text for text in work.texts])
        return await self._inference.read(request.checkpoint, work, caller=caller)

    async def _outcomes(
        self, requests: AsyncIterator[S], result: Callable[[S], Awaitable[Outcome]]
    ) -> AsyncGenerator[Outcome]:
        """The fields of each request's response, of which `result` says all but the id."""

        async def outcome(request: S) -> Outcome:
            try:
                if len(request.id) > MAX_ID:
                    raise InvalidInput(f"an id has at most {MAX_ID} characters", field="id")
                return {"id": request.id, **await result(request)}
            except Exception as error:
                status = to_status(_of_one(error), self._settings.retry_after)
                if code_of(error) is grpc.StatusCode.INTERNAL:
                    logger.exception("an input of a stream failed")
                return {"id": request.id[:MAX_ID], "error": status}

        async with aclosing(self._streams.answered(requests, outcome)) as outcomes:
            async for one in outcomes:
                yield one

    def _streaming(self, priority: inference_pb2.Priority.ValueType, context: Context) -> Caller:
        """Who sends an input of a stream: it waits no longer than a call without a deadline would, nor than its stream."""
        caller = _caller(priority, context)
        if caller.timeout is None:
            return caller
        return replace(caller, timeout=min(caller.timeout, self._settings.default_timeout))

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


def validate_generation(request: generation.Request) -> None:
    """Raise InvalidInput that names the field. What is written how, is validated where it is converted."""
    empty = [generation.is_empty(item) for item in request.inputs]
    _validate_batch(request.checkpoint, empty)


def _validate_batch(checkpoint: str, empty: Sequence[bool]) -> None:
    """`empty` tells of each input whether it says nothing."""
    if not checkpoint:
        raise InvalidInput("checkpoint must not be empty", field="checkpoint")
    if not empty:
        raise InvalidInput("inputs must not be empty", field="inputs")
    if any(empty):
        raise InvalidInput("text must not be empty", field=f"inputs[{empty.index(True)}].text")


def _of_one(error: Exception) -> Exception:
    """The error with its field named as a stream names its one input."""
    if isinstance(error, TrineError) and error.field.startswith("inputs"):
        error.field = "input" + error.field.removeprefix("inputs").removeprefix("[0]")
    return error


def _caller(priority: inference_pb2.Priority.ValueType, context: Context) -> Caller:
    if priority not in _PRIORITIES:
        raise InvalidInput(f"{priority} is no priority", field="priority")
    return Caller(caller_of(context), _PRIORITIES[priority], context.time_remaining())


def caller_of(context: Context) -> str:
    """Who calls, for fairness: the peer's address without its port, which changes with every connection."""
    peer = context.peer()
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
