"""Runs one export in a process of its own and tells how it goes. The front process; imports nothing of the child's side.

The child gets a clean environment (no tokens, no network for the hub), its own session, and one socket as its standard input and
output; it limits itself before it reads anything (isolation.py). The plan is the first line that it reads; it ends itself when that input closes, so
it never outlives a server that was killed. It answers with JSON lines:

    {"stage": "export", "fraction": 0.5, "message": "..."}
    {"refused": "UNSAFE_CHECKPOINT", "message": "..."}          a typed refusal; nothing follows
    {"verdict": {"passed": true, "reason": "..."}}              the staging folder is sealed; nothing follows

Anything else, a half line among it, means that the child broke: ExportFailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trine.artifact import Target
from trine.config import available_cores
from trine.errors import ExportFailed, NotPossible, TrineError, from_reason
from trine.export.plan import ExportPlan

logger = logging.getLogger(__name__)

CHILD = ("-I", "-m", "trine.export.child")
_REQUIRED = ("torch", "transformers", "optimum", "onnx", "onnxscript")
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
_DEVICES = "CUDA_VISIBLE_DEVICES"
_LOG_TAIL = 8192
_LAST_WAIT = 5.0
"""Seconds for a child that said its last word to end."""
_CAUSES: dict[int, str] = {
    signal.SIGXCPU: "it used more processor time than it may",
    signal.SIGKILL: "it was killed, perhaps because the machine ran out of memory",
    signal.SIGABRT: "it broke off, perhaps because it needed more memory than it may use",
    signal.SIGSEGV: "it crashed, perhaps because it needed more memory than it may use",
    signal.SIGBUS: "it crashed, perhaps because the disk is full",
}


class _Died(Exception):
    """The child's output ended without a verdict."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the parity gate said about a sealed artifact."""

    passed: bool
    reason: str
    """One line with figures: what was proved, or which check failed."""


@dataclass(frozen=True, slots=True)
class Progress:
    stage: str
    """read, export, optimize, quantize, verify; publish is the caller's."""
    fraction: float
    """How much of the stage is done, 0 to 1."""
    message: str
    verdict: Verdict | None = None
    """Only in the last one: the staging folder holds a sealed artifact, good or not."""


async def run(plan: ExportPlan) -> AsyncGenerator[Progress, None]:
    """Export `plan`; the last Progress carries the verdict. Leave it early through `contextlib.aclosing`.

    Raises NotPossible without the export extra, what `plan.inspect` raises, and ExportFailed when the child dies, talks
    nonsense, or takes longer than `plan.timeout`. However it ends, the child and all that it started are gone.
    """
    _require_extra()
    with tempfile.TemporaryDirectory(prefix="trine-export-") as home:
        log = Path(home) / "stderr"
        ours, theirs = socket.socketpair()
        with theirs:
            child = await _start(plan, Path(home), log, theirs)
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
            with contextlib.closing(writer):
                await _send(writer, plan)
                last = Progress("start", 0.0, "starting")
                async for progress in _follow(reader, plan.timeout):
                    last = progress
                    yield progress
        except _Died as error:
            logger.warning("the export died; the end of its log:\n%s", _tail(log))
            raise ExportFailed(await _epitaph(child, last)) from error
        except ExportFailed:
            logger.warning("the export failed; the end of its log:\n%s", _tail(log))
            raise
        finally:
            await _end(child)


def _require_extra() -> None:
    if any(importlib.util.find_spec(name) is None for name in _REQUIRED):
        raise NotPossible(
            "this server cannot export checkpoints; install the export extra: pip install 'trine[export]'"
        )


async def _start(
    plan: ExportPlan, home: Path, log: Path, channel: socket.socket
) -> asyncio.subprocess.Process:
    """A socket instead of asyncio's pipes: its `wait` would hang on a pipe with unread output (cpython 119710)."""
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *CHILD,
            stdin=channel.fileno(),
            stdout=channel.fileno(),
            stderr=stderr,
            cwd=home,
            env=_environment(home, plan),
            start_new_session=True,
        )


async def _send(writer: asyncio.StreamWriter, plan: ExportPlan) -> None:
    with contextlib.suppress(ConnectionError):  # a child that died already is told by its closed output
        writer.write(plan.to_json().encode() + b"\n")
        await writer.drain()


def _environment(home: Path, plan: ExportPlan) -> dict[str, str]:
    threads = plan.threads or available_cores()
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    if plan.precision is None or plan.precision.target is Target.CPU:
        kept[_DEVICES] = ""
    elif _DEVICES in os.environ:
        kept[_DEVICES] = os.environ[_DEVICES]
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads take the cores from the engines beside
    }


async def _follow(reader: asyncio.StreamReader, timeout: float) -> AsyncGenerator[Progress, None]:
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        left = deadline - asyncio.get_running_loop().time()
        try:
            line = await asyncio.wait_for(reader.readline(), max(left, 0.0))
        except TimeoutError as error:
            raise ExportFailed(f"the export took longer than {timeout:g} s and was stopped") from error
        except ValueError as error:  # asyncio's limit on a line's length
            raise ExportFailed("the export process sent nonsense") from error
        except ConnectionError as error:  # it died before it had read its plan
            raise _Died from error
        if not line.endswith(b"\n"):
            raise _Died
        progress = _read(line)
        yield progress
        if progress.verdict is not None:
            return


def _read(line: bytes) -> Progress:
    """One line of the child's; raises the refusal that it carries."""
    try:
        fields = json.loads(line)
        if "refused" in fields:
            raise _refusal(fields)
        if "verdict" in fields:
            verdict = Verdict(bool(fields["verdict"]["passed"]), str(fields["verdict"]["reason"]))
            return Progress("verify", 1.0, verdict.reason, verdict)
        return Progress(str(fields["stage"]), float(fields["fraction"]), str(fields["message"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ExportFailed("the export process sent nonsense") from error


def _refusal(fields: dict[str, Any]) -> TrineError:
    return from_reason(str(fields["refused"]), str(fields["message"]), field=str(fields.get("field", "")))


async def _epitaph(child: asyncio.subprocess.Process, last: Progress) -> str:
    """Why it died, as far as its exit status tells, and what it was at."""
    status = 0
    with contextlib.suppress(TimeoutError):  # it closed its output and lives on
        status = await asyncio.wait_for(child.wait(), _LAST_WAIT)
    cause = _CAUSES.get(-status, "it may have run out of memory")
    return f"the export process died in its stage {last.stage} ({last.message}): {cause}"


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill the whole session, also what the child itself started, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    except OSError:
        return ""
