"""InferenceService: requests validated and unpacked, frames packed. Front process, event loop only.

What is checked here is what the request alone tells; limits that depend on settings are admission's, those that depend on the
checkpoint are the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

import grpc

from trine import frames
from trine.artifact import Task
from trine.config import Settings
from trine.errors import InvalidInput, TrineError
from trine.front.serving.inference import Inference
from trine.front.serving.reading import Reading
from trine.front.serving.request import Request
from trine.front.serving.work import Caller
from trine.front.wire import generation, reading
from trine.front.wire.reading import A, R, S
from trine.front.wire.status import Context, check_size, code_of, to_status
from trine.front.wire.streams import Answering, Streams
from trine.v1 import inference_pb2, inference_pb2_grpc

logger = logging.getLogger(__name__)

MAX_ID = 128
"""Characters of the id of a stream's input."""

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
        checkpoint, results = await self._read(request, work, context)
        return inference_pb2.ClassifyResponse(
            checkpoint=checkpoint, results=[reading.classification(result) for result in results]
        )

    async def ClassifyTokens(
        self, request: inference_pb2.ClassifyTokensRequest, context: Context
    ) -> inference_pb2.ClassifyTokensResponse:
        work = reading.tagging(request, request.inputs)
        checkpoint, results = await self._read(request, work, context)
        return inference_pb2.ClassifyTokensResponse(
            checkpoint=checkpoint, results=[reading.token_classification(result) for result in results]
        )

    async def Embed(
        self, request: inference_pb2.EmbedRequest, context: Context
    ) -> inference_pb2.EmbedResponse:
        work = reading.embedding(request, request.inputs)
        checkpoint, results = await self._read(request, work, context)
        return inference_pb2.EmbedResponse(
            checkpoint=checkpoint, results=[reading.vector(result, request.format) for result in results]
        )

    async def StreamClassify(
        self, requests: AsyncIterator[inference_pb2.StreamClassifyRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamClassifyResponse]:
        async with aclosing(self._answered(requests, context, reading.CLASSIFYING)) as responses:
            async for response in responses:
                yield response

    async def StreamClassifyTokens(
        self, requests: AsyncIterator[inference_pb2.StreamClassifyTokensRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamClassifyTokensResponse]:
        async with aclosing(self._answered(requests, context, reading.TAGGING)) as responses:
            async for response in responses:
                yield response

    async def StreamEmbed(
        self, requests: AsyncIterator[inference_pb2.StreamEmbedRequest], context: Context
    ) -> AsyncIterator[inference_pb2.StreamEmbedResponse]:
        async with aclosing(self._answered(requests, context, reading.EMBEDDING)) as responses:
            async for response in responses:
                yield response

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

    async def _read(
        self, request: reading.Request, work: Reading[R], context: Context
    ) -> tuple[str, list[R]]:
        _validate_batch(request.checkpoint, work.texts)
        caller = _caller(request.priority, context)
        return await self._inference.answer(request.checkpoint, work, caller=caller)

    def _answered(
        self, requests: AsyncIterator[S], context: Context, streaming: reading.Streaming[S, R, A]
    ) -> AsyncGenerator[A]:
        """Each input waits no longer than a call without a deadline would, nor than its stream."""
        name, default = caller_of(context), self._settings.default_timeout

        async def begin(request: S, told: Callable[[], None]) -> Request[R]:
            if len(request.id) > MAX_ID:
                raise InvalidInput(f"an id has at most {MAX_ID} characters", field="id")
            work = streaming.work(request)
            _validate_batch(request.checkpoint, work.texts)
            remaining = context.time_remaining()
            timeout = None if remaining is None else min(remaining, default)
            caller = Caller(name, _priority(request.priority), timeout)
            return await self._inference.begin(request.checkpoint, work, caller=caller, told=told)

        def finish(request: S, running: Request[R]) -> A:
            checkpoint, (result,) = running.result()
            told = streaming.result(request, result)
            response = streaming.response(id=request.id, checkpoint=checkpoint, result=told)
            check_size(response, self._settings.max_message_bytes)
            return response

        def fail(request: S, error: Exception) -> A:
            if code_of(error) is grpc.StatusCode.INTERNAL:
                logger.error("an input of a stream failed", exc_info=error)
            status = to_status(_of_one(error), self._settings.retry_after)
            return streaming.response(id=request.id[:MAX_ID], error=status)

        return self._streams.answered(requests, Answering(begin, finish, fail))

    async def _generate(
        self, request: generation.Request, context: Context, task: Task
    ) -> tuple[str, list[frames.Generated]]:
        validate_generation(request)
        work = generation.writing_of(request, task)
        caller = _caller(request.priority, context)
        return await self._inference.answer(request.checkpoint, work, caller=caller)

    async def _stream(
        self, request: generation.Request, context: Context, task: Task
    ) -> AsyncGenerator[tuple[str, frames.Delta]]:
        validate_generation(request)
        work = generation.writing_of(request, task, stream=True)
        caller = _caller(request.priority, context)
        steps = self._inference.stream(request.checkpoint, work, caller=caller)
        async with aclosing(steps):
            async for checkpoint, deltas in steps:
                for delta in deltas:
                    yield checkpoint, delta


def validate_generation(request: generation.Request) -> None:
    """Raise InvalidInput that names the field. What is written how, is validated where it is converted."""
    _validate_batch(request.checkpoint, [not generation.is_empty(item) for item in request.inputs])


def _validate_batch(checkpoint: str, contents: Sequence[str | bool]) -> None:
    """`contents` has something true for each input that says anything."""
    if not checkpoint:
        raise InvalidInput("checkpoint must not be empty", field="checkpoint")
    if not contents:
        raise InvalidInput("inputs must not be empty", field="inputs")
    if not all(contents):
        index = next(index for index, content in enumerate(contents) if not content)
        raise InvalidInput("text must not be empty", field=f"inputs[{index}].text")


def _of_one(error: Exception) -> Exception:
    """The error with its field named as a stream names its one input."""
    if isinstance(error, TrineError) and error.field.startswith("inputs"):
        error.field = "input" + error.field.removeprefix("inputs").removeprefix("[0]")
    return error


def _caller(priority: inference_pb2.Priority.ValueType, context: Context) -> Caller:
    return Caller(caller_of(context), _priority(priority), context.time_remaining())


def _priority(given: inference_pb2.Priority.ValueType) -> int:
    if given not in _PRIORITIES:
        raise InvalidInput(f"{given} is no priority", field="priority")
    return _PRIORITIES[given]


def caller_of(context: Context) -> str:
    """Who calls, for fairness: the peer's address without its port, which changes with every connection."""
    peer = context.peer()
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
