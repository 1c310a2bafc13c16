"""The export process: `python -I -m trine.export.child`, started by `trine.export.launcher`; recipe.py is what it does.

Before anything of the checkpoint is read, the process gives up what it does not need (isolation.py), and it works on a copy of its own
(snapshot.py). The plan comes as the first line of standard input, which stays open as long as the server lives. Progress goes out as JSON lines
(see launcher) on what was standard output; whatever any library prints lands in standard error, a log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import signal
import sys
import threading
from typing import IO, Any

from trine.config import available_cores
from trine.errors import ExportFailed, TrineError
from trine.export import isolation, snapshot
from trine.export.plan import ExportPlan

logger = logging.getLogger(__name__)


_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EFBIG: "it wrote a larger file than it may",
    errno.EMFILE: "it opened more files than it may",
}


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
    limits = isolation.limit_first(plan)
    held = isolation.leave_the_network()  # while there is one thread: a namespace of its own is not for more
    threading.Thread(target=_die_with_the_server, daemon=True).start()
    try:
        _export(plan, channel, limits, held)
    except TrineError as error:
        logger.info("refused", exc_info=True)
        channel.refused(error)
    except MemoryError:
        logger.exception("out of memory")
        channel.refused(ExportFailed("the export needs more memory than it may use"))
    except Exception as error:
        logger.exception("the export failed")
        channel.refused(ExportFailed(f"the export failed in its stage {channel.stage}{_cause(error)}"))
    else:
        return 0
    return 1


def _export(plan: ExportPlan, channel: Channel, limits: dict[str, int], held: str) -> None:
    channel.progress("read", 0.0, "reading the checkpoint")
    with snapshot.taken(plan) as (folder, info):
        limits |= isolation.limit_for(plan, info)
        # The late imports: torch and its kin may print and reserve memory, so output and limits are settled before.
        from trine.export import recipe, trial
        from trine.export.conditions import Conditions

        def give_up(error: TrineError) -> None:
            channel.refused(error)
            trial.end_process(error)

        report = recipe.export(
            dataclasses.replace(plan, checkpoint=folder),
            info,
            plan.threads or available_cores(),
            channel.progress,
            Conditions(held, limits, give_up),
        )
    channel.verdict(report.passed, report.reason)


def _cause(error: BaseException | None) -> str:
    """What the system said, where it was asked for something: other words are other people's."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _CAUSES:
            return f": {_CAUSES[error.errno]}"
        error = error.__cause__ or error.__context__
    return ""


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


if __name__ == "__main__":
    sys.exit(main())
