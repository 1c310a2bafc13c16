"""Every error that Trine raises on purpose, sorted by who is at fault. Any process.

TrineError
├── CallerError               the request is wrong; sending it again gives the same answer
│   ├── InvalidInput          a field is missing, out of range or too long; names the field
│   ├── MalformedRequest      the bytes are no request
│   ├── CheckpointNotFound    no such checkpoint, version or alias
│   ├── WrongTask             the checkpoint does something else
│   └── NotPossible           the state of the checkpoint or of the server does not allow it
│       └── RepositoryFull    its disk, or the part of it that the server may take
├── CheckpointRefused         the checkpoint is wrong, and its owner has to mend it
│   ├── NotACheckpoint        the folder lacks a file, or a file does not parse
│   ├── UnsafeCheckpoint      pickle weights, code, links out of the folder
│   ├── UnsupportedArchitecture
│   ├── ExportFailed          the export process died or ran out of time or memory
│   └── ArtifactCorrupt       a file of the artifact is missing or its hash differs
├── TryLater                  nothing is wrong with the request; a later try can succeed
│   ├── Overloaded            no permit, no room in the engine's window
│   ├── NotLive               the version is not loaded, or loading
│   ├── EngineLost            the engine died, or was killed, while it held the request
│   └── Draining              the server is about to stop
├── DeadlineExceeded          the caller's time is over
└── Bug                       an invariant of ours does not hold

`reason` is stable and machine-readable (ErrorInfo.reason). The message is the only text of ours that reaches a client: it
holds no path, no traceback and no other library's words.
"""

from __future__ import annotations

from typing import ClassVar


class TrineError(Exception):
    """Base of all. `field` names the request field at fault; `retry_after` is in seconds."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class CallerError(TrineError):
    """The request is wrong; sending it again gives the same answer."""

    reason = "CALLER_ERROR"


class InvalidInput(CallerError):
    reason = "INVALID_INPUT"


class MalformedRequest(CallerError):
    reason = "MALFORMED_REQUEST"


class CheckpointNotFound(CallerError):
    reason = "CHECKPOINT_NOT_FOUND"


class WrongTask(CallerError):
    reason = "WRONG_TASK"


class NotPossible(CallerError):
    reason = "NOT_POSSIBLE"


class RepositoryFull(NotPossible):
    reason = "REPOSITORY_FULL"


class CheckpointRefused(TrineError):
    """The checkpoint is wrong, and its owner has to mend it."""

    reason = "CHECKPOINT_REFUSED"


class NotACheckpoint(CheckpointRefused):
    reason = "NOT_A_CHECKPOINT"


class UnsafeCheckpoint(CheckpointRefused):
    reason = "UNSAFE_CHECKPOINT"


class UnsupportedArchitecture(CheckpointRefused):
    reason = "UNSUPPORTED_ARCHITECTURE"


class ExportFailed(CheckpointRefused):
    reason = "EXPORT_FAILED"


class ArtifactCorrupt(CheckpointRefused):
    reason = "ARTIFACT_CORRUPT"


class TryLater(TrineError):
    """Nothing is wrong with the request; a later try can succeed."""

    reason = "TRY_LATER"


class Overloaded(TryLater):
    reason = "OVERLOADED"


class NotLive(TryLater):
    reason = "NOT_LIVE"


class EngineLost(TryLater):
    reason = "ENGINE_LOST"


class Draining(TryLater):
    reason = "DRAINING"


class DeadlineExceeded(TrineError):
    reason = "DEADLINE_EXCEEDED"


class Bug(TrineError):
    reason = "INTERNAL"


def _tree(root: type[TrineError]) -> list[type[TrineError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_REASON: dict[str, type[TrineError]] = {kind.reason: kind for kind in _tree(TrineError)}


def from_reason(reason: str, message: str, field: str = "", retry_after: float | None = None) -> TrineError:
    """The error that crossed a process border as its parts; an unknown reason becomes `Bug`."""
    return BY_REASON.get(reason, Bug)(message, field=field, retry_after=retry_after)
