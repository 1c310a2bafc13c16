"""Errors to gRPC statuses: the one table, and the rich status that tells it to machines. Front process.

The details follow AIP-193: one ErrorInfo always, BadRequest where a field is at fault, RetryInfo where a later try can succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from trine import errors
from trine.errors import TrineError

Context = grpc.aio.ServicerContext[Any, Any]

DOMAIN = "trine"
INTERNAL_WORDS = "internal error"
MAX_MESSAGE = 1024
"""Bytes of UTF-8. The message travels three times in the trailers, escaped or in base64; clients take 8 KiB of those at most, and
refuse at random what is between 8 and 16."""

# The nearest entry up the tree of errors.py counts; what has none (Bug, and whatever is no TrineError) is INTERNAL.
_CODES: dict[type, grpc.StatusCode] = {
    errors.CallerError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CheckpointNotFound: grpc.StatusCode.NOT_FOUND,
    errors.WrongTask: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotPossible: grpc.StatusCode.FAILED_PRECONDITION,
    # The request to register was right; what stands in the folder is not.
    errors.CheckpointRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TryLater: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status code that `error` is answered with."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: Exception, retry_after: float) -> status_pb2.Status:
    """The google.rpc.Status of `error`; `retry_after` in seconds is for refusals that bring no time of their own.

    An error that is not one of ours, or that is a bug of ours, gives no word of itself.
    """
    code = code_of(error)
    number: int = code.value[0]
    if code is grpc.StatusCode.INTERNAL or not isinstance(error, TrineError):
        info = error_details_pb2.ErrorInfo(reason=errors.Bug.reason, domain=DOMAIN)
        return status_pb2.Status(code=number, message=INTERNAL_WORDS, details=[_packed(info)])
    details = [_packed(detail) for detail in _details(error, retry_after)]
    return status_pb2.Status(code=number, message=_cut(error.message), details=details)


def _details(error: TrineError, retry_after: float) -> Iterator[Message]:
    metadata = {"field": error.field} if error.field else {}
    yield error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=_cut(error.message), reason=error.reason
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if isinstance(error, errors.TryLater):
        delay = Duration()
        delay.FromNanoseconds(round((error.retry_after or retry_after) * 1e9))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def check_size(response: Message, most: int) -> None:
    """Raise InvalidInput for a response that is larger than a message may be: clients refuse it in gRPC's words, or read all of it."""
    if (size := response.ByteSize()) > most:
        raise errors.InvalidInput(
            f"the answer has {size} bytes, and one message may have {most}: send fewer inputs at once, or shorter ones",
            field="inputs",
        )


def _cut(message: str) -> str:
    return message.encode(errors="replace")[:MAX_MESSAGE].decode(errors="ignore")


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


async def abort(context: Context, error: Exception, retry_after: float) -> NoReturn:
    """End the call with the status of `error`. Always raises, as grpc's own abort does."""
    status = rpc_status.to_status(to_status(error, retry_after))
    await context.abort(status.code, status.details, status.trailing_metadata)
