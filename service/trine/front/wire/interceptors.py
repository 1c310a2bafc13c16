"""What stands around every handler of every service: parsing, statuses, counting. Front process, event loop only.

grpc.aio alone answers bytes that do not parse with UNKNOWN or INTERNAL in protobuf's words, an exception with its text, and a
unary call that brings no message never. So each method is registered as one that reads its own bytes: the guard reads, parses,
runs the servicer's method, and turns whatever it raises into a status.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from trine.errors import MalformedRequest
from trine.front.wire.patience import Patience
from trine.front.wire.status import Context, abort, check_size, code_of
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


class Guard(grpc.aio.ServerInterceptor):
    """The innermost interceptor. `retry_after` in seconds stands in the refusals that bring no time of their own.

    `patience` in seconds is how long a caller without a deadline may keep a stream waiting by not reading it, in all; `most_bytes` what
    the answer of a unary call may have.
    """

    def __init__(self, metrics: Metrics, retry_after: float, patience: float, most_bytes: int) -> None:
        self._metrics = metrics
        self._most_bytes = most_bytes
        self._retry_after = retry_after
        self._patience = patience
        self._guarded: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # grpc answers UNIMPLEMENTED; nothing is counted, since the name is the caller's own
        path = handler_call_details.method
        known = self._guarded.get(path)
        if known is None or known[0] is not handler:
            self._guarded[path] = known = handler, self._guard(path, handler)
        return known[1]

    def _guard(self, path: str, handler: Handler) -> Handler:
        method = _Method.of(path, handler, self._patience, self._most_bytes)

        async def call(_: object, context: Context) -> Any:
            return await self._call(method, context)

        wrap = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return wrap(call, None, handler.response_serializer)

    async def _call(self, method: _Method, context: Context) -> Any:
        """Each end is counted before the caller can know of it, so that the counts never lag behind what callers saw."""
        began = time.monotonic()
        self._metrics.grpc_started(method.service, method.name, method.type)
        try:
            answer = await method.run(context)
        except asyncio.CancelledError:
            self._count(method, began, _code_of_cancel(context))
            raise
        except grpc.aio.BaseError as error:
            self._count(method, began, _code_of_end(error, context))
            raise
        except Exception as error:
            self._count(method, began, code_of(error))
            if code_of(error) is grpc.StatusCode.INTERNAL:
                logger.exception("%s/%s failed", method.service, method.name)
            await abort(context, error, self._retry_after)
        self._count(method, began, grpc.StatusCode.OK)
        return answer

    def _count(self, method: _Method, began: float, code: grpc.StatusCode) -> None:
        seconds = time.monotonic() - began
        self._metrics.grpc_handled(method.service, method.name, method.type, code.name, seconds)


def _code_of_cancel(context: Context) -> grpc.StatusCode:
    """grpc.aio cancels the handler for either reason; only the clock tells which."""
    remaining = context.time_remaining()
    late = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def _code_of_end(error: Exception, context: Context) -> grpc.StatusCode:
    """The code of a call that a servicer aborted by itself, or whose connection broke under a write."""
    if not isinstance(error, grpc.aio.AbortError):
        return grpc.StatusCode.CANCELLED
    number = context.code()
    return next(
        (code for code in grpc.StatusCode if number in (code, code.value[0])), grpc.StatusCode.UNKNOWN
    )


@dataclass(frozen=True, slots=True)
class _Method:
    """One method of one service, with the handler that the generated code made for it."""

    service: str
    name: str
    type: str
    """As the grpc_type label of the grpc_server_* family spells it."""
    handler: Handler
    behavior: Callable[[Any, Context], Any]
    yields: bool
    """Whether the behavior is an async generator; a streaming one that is not writes to the context."""
    patience: float
    most_bytes: int

    @classmethod
    def of(cls, path: str, handler: Handler, patience: float, most_bytes: int) -> _Method:
        _, service, name = path.split("/")
        kinds: dict[tuple[bool, bool], tuple[str, Any]] = {
            (False, False): ("unary", handler.unary_unary),
            (False, True): ("server_stream", handler.unary_stream),
            (True, False): ("client_stream", handler.stream_unary),
            (True, True): ("bidi_stream", handler.stream_stream),
        }
        type_, behavior = kinds[handler.request_streaming, handler.response_streaming]
        yields = inspect.isasyncgenfunction(behavior)
        return cls(service, name, type_, handler, behavior, yields, patience, most_bytes)

    async def run(self, context: Context) -> Any:
        if not self.handler.request_streaming:
            return await self._answer(self._parse(await context.read()), context)
        async with aclosing(self._requests(context)) as requests:
            return await self._answer(requests, context)

    async def _answer(self, request: Any, context: Context) -> Any:
        if not self.yields:
            response = await self.behavior(request, context)
            if response is not None:
                check_size(response, self.most_bytes)
            return response
        # Closed here and now, not by the garbage collector: closing is what tells the engine that the caller has left.
        async with aclosing(self.behavior(request, context)) as responses:
            await self._write(responses, context)
        return None

    async def _write(self, responses: AsyncIterator[Any], context: Context) -> None:
        """Flow control holds a write back while the caller reads nothing, and the call's permit with it.

        gRPC itself ends a call that has a deadline; raises DeadlineExceeded for any other after `patience` of all writes together.
        Where the caller sends as well, it is `patience` of one write, with a deadline too: such a stream may last for ever.
        """
        if context.time_remaining() is not None and not self.handler.request_streaming:
            async for response in responses:
                await context.write(response)
            return
        with Patience(self.patience, each=self.handler.request_streaming) as patience:
            async for response in responses:
                await patience.write(context, response)

    async def _requests(self, context: Context) -> AsyncGenerator[Any]:
        while (raw := await context.read()) is not grpc.aio.EOF:
            yield self._parse(raw)

    def _parse(self, raw: Any) -> Any:
        if raw is grpc.aio.EOF:
            raise MalformedRequest("the call ended without a request")
        parse = self.handler.request_deserializer
        assert parse is not None
        try:
            return parse(raw)
        except (DecodeError, ValueError):
            raise MalformedRequest("the request's bytes are no message of this method") from None
