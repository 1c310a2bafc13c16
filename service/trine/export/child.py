"""The export process: `python -I -m trine.export.child`, started by `trine.export.launcher`; recipe.py is what it does.

The plan comes as the first line of standard input, which stays open as long as the server lives. Progress goes out as JSON lines
(see launcher) on what was standard output; whatever any library prints lands in standard error, a log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
import threading
from typing import IO, Any

from trine.artifact import Target
from trine.config import available_cores
from trine.errors import ExportFailed, NotACheckpoint, TrineError
from trine.export.plan import CheckpointInfo, ExportPlan, inspect

logger = logging.getLogger(__name__)

_HEADROOM = 8 << 30
"""Address space for libraries, threads and the trace, beside the weights."""


class Channel:
    """What the launcher hears."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self.stage = "read"

    def progress(self, stage: str, fraction: float, message: str) -> None:
        self.stage = stage
        self._send({"stage": stage, "fraction": round(fraction, 4), "message": message})

    def refused(self, error: TrineError) -> None:
        self._send({"refused": error.reason, "message": error.message, "field": error.field})

    def verdict(self, passed: bool, reason: str) -> None:
        self._send({"verdict": {"passed": passed, "reason": reason}})

    def _send(self, fields: dict[str, Any]) -> None:
        self._out.write(json.dumps(fields) + "\n")
        self._out.flush()


def main() -> int:
    """0 when a verdict was given, be it good or bad; 1 otherwise."""
    channel = Channel(_take_stdout())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    plan = ExportPlan.from_json(sys.stdin.readline())
    threading.Thread(target=_die_with_the_server, daemon=True).start()
    try:
        _export(plan, channel)
    except TrineError as error:
        logger.info("refused", exc_info=True)
        channel.refused(error)
    except MemoryError:
        logger.exception("out of memory")
        channel.refused(ExportFailed("the export needs more memory than it may use"))
    except Exception:
        logger.exception("the export failed")
        channel.refused(ExportFailed(f"the export failed in its stage {channel.stage}"))
    else:
        return 0
    return 1


def _export(plan: ExportPlan, channel: Channel) -> None:
    channel.progress("read", 0.0, "reading the checkpoint")
    info = inspect(plan.checkpoint, plan.task, plan.precision, plan.gate)
    if plan.digest and plan.digest != info.digest:
        raise NotACheckpoint("the checkpoint's files changed after they were read")
    _limit_memory(plan, info)
    # The one late import: torch and its kin may print and reserve memory, so output and limits are settled before.
    from trine.export import recipe

    report = recipe.export(plan, info, plan.threads or available_cores(), channel.progress)
    channel.verdict(report.passed, report.reason)


def _take_stdout() -> IO[str]:
    """A private copy of standard output; what is printed from now on goes to standard error."""
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _die_with_the_server() -> None:
    """Standard input ends when the server does, even by SIGKILL; then this process and its children end too."""
    with contextlib.suppress(ConnectionError):  # a server that left our words unread resets the connection
        while sys.stdin.buffer.read(4096):
            pass
    os.killpg(0, signal.SIGKILL)


def _limit_memory(plan: ExportPlan, info: CheckpointInfo) -> None:
    """Address space: `plan.memory_bytes`, or three times the weights in float32 (half-precision files double) plus 8 GB.

    None for CUDA, whose driver reserves addresses for all memory that there is.
    """
    if plan.precision is not None and plan.precision.target is Target.CUDA:
        return
    limit = plan.memory_bytes or 3 * 2 * info.weight_bytes + _HEADROOM
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    sys.exit(main())
