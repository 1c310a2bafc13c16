"""Answers that come in parts. Leaving early cancels the call: by `with`, by `close`, or by letting go of the stream.

gRPC for Python never cancels a call whose owner forgot it (grpc/grpc issue 43462), so the server would work on for nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
import grpc.aio

from trine.client.failures import failure

_Item = TypeVar("_Item")


class Sent:
    """The requests of a stream in both directions, made as gRPC asks for them, in a thread of its own.

    gRPC would only log what its source raises; so the requests end there, and the stream raises it once all else is answered.
    """

    def __init__(self, inputs: Iterable[Any], request: Callable[[int, Any], Any]) -> None:
        self._inputs = inputs
        self._request = request
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for index, given in enumerate(self._inputs):
                yield self._request(index, given)
        except Exception as error:
            self.error = error


class AsyncSent:
    """The same in the event loop, of an asynchronous iterable or of a plain one."""

    def __init__(
        self, inputs: Iterable[Any] | AsyncIterable[Any], request: Callable[[int, Any], Any]
    ) -> None:
        self._inputs = inputs
        self._request = request
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        index = 0
        try:
            if isinstance(self._inputs, AsyncIterable):
                async for given in self._inputs:
                    yield self._request(index, given)
                    index += 1
            else:
                for index, given in enumerate(self._inputs):
                    yield self._request(index, given)
        except Exception as error:
            self.error = error


class Stream(Generic[_Item]):
    """Iterator over the parts of one answer, or over many answers. Raises the server's error (trine.errors) where the stream broke."""

    def __init__(
        self, call: Any, convert: Callable[[Any], _Item], target: str, sent: Sent | None = None
    ) -> None:
        self._call = call
        self._sent = sent
        self._convert = convert
        self._target = target
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _Item:
        if self._closed:
            raise StopIteration
        try:
            return self._convert(next(self._call))
        except StopIteration:
            self._closed = True
            if self._sent is not None and self._sent.error is not None:
                raise self._sent.error from None
            raise
        except grpc.RpcError as error:
            self._closed = True
            raise failure(error, self._target) from None

    def close(self) -> None:
        """Cancel the call if it still runs."""
        if not self._closed:
            self._closed = True
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class AsyncStream(Generic[_Item]):
    """The same for `async for`."""

    def __init__(
        self, call: Any, convert: Callable[[Any], _Item], target: str, sent: AsyncSent | None = None
    ) -> None:
        self._call = call
        self._sent = sent
        self._convert = convert
        self._target = target
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        if self._closed:
            raise StopAsyncIteration
        try:
            response = await self._call.read()
        except grpc.RpcError as error:
            self._closed = True
            raise failure(error, self._target) from None
        if response is grpc.aio.EOF:
            self._closed = True
            if self._sent is not None and self._sent.error is not None:
                raise self._sent.error
            raise StopAsyncIteration
        return self._convert(response)

    def close(self) -> None:
        """Cancel the call if it still runs."""
        if not self._closed:
            self._closed = True
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: the call ended with its channel
            self.close()
