"""A failed gRPC call becomes the error of trine.errors that the server raised. Pure functions, the caller's process."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from trine.errors import (
    Bug,
    CheckpointNotFound,
    DeadlineExceeded,
    InvalidInput,
    MalformedRequest,
    NotPossible,
    Overloaded,
    TrineError,
    TryLater,
    from_reason,
)

DOMAIN = "trine"

# Statuses without our ErrorInfo: gRPC itself made them, here or there, or a proxy between, or the standard health service.
_BY_CODE: dict[grpc.StatusCode, tuple[type[TrineError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        TryLater,
        "no answer from {target}: the server is not reachable there, or the connection was lost",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        DeadlineExceeded,
        "no answer from {target} within the call's timeout",
    ),
    grpc.StatusCode.CANCELLED: (TryLater, "the call to {target} was cancelled"),
    grpc.StatusCode.UNIMPLEMENTED: (
        NotPossible,
        "the server at {target} does not offer this call on this port",
    ),
    grpc.StatusCode.NOT_FOUND: (CheckpointNotFound, "the server at {target} does not know this name"),
    grpc.StatusCode.INVALID_ARGUMENT: (MalformedRequest, "the server at {target} could not read the request"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Overloaded, "the server at {target} has no room for the call"),
}


def failure(error: grpc.RpcError, target: str) -> TrineError:
    """The error that the server at `target` raised, with its field and pause; or one that says how the call itself failed."""
    call: Any = (
        error  # both kinds of client raise an RpcError that is a call as well; the stubs do not say so
    )
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details contradict the status: not ours
        status = None
    return _told(status) or _without_details(call, target)


def failure_of(status: status_pb2.Status) -> TrineError:
    """The error of one input of a stream."""
    return _told(status) or Bug("the server refused an input without saying why")


def _told(status: status_pb2.Status | None) -> TrineError | None:
    """The error that a server of ours put into a status; None where it is another's."""
    parts = _details(status)
    info = parts.get(error_details_pb2.ErrorInfo)
    if status is None or info is None or info.domain != DOMAIN:
        return None
    violations = parts.get(error_details_pb2.BadRequest, error_details_pb2.BadRequest()).field_violations
    retry = parts.get(error_details_pb2.RetryInfo)
    return from_reason(
        info.reason,
        status.message,
        field=violations[0].field if violations else "",
        retry_after=None if retry is None else retry.retry_delay.ToNanoseconds() / 1e9,
    )


def _details(status: status_pb2.Status | None) -> dict[type[Any], Any]:
    """The status details by their type; those of types that we do not know are left out."""
    found: dict[type[Any], Any] = {}
    for packed in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                packed.Unpack(message := kind())
                found[kind] = message
    return found


def _without_details(call: Any, target: str) -> TrineError:
    code = call.code()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (call.details() or ""):
        return InvalidInput("the request or its answer is larger than one message may be", field="inputs")
    kind, message = _BY_CODE.get(code, (Bug, f"the server at {{target}} answered {code.name}"))
    return kind(message.format(target=target))
