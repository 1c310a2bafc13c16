"""What the export process may not do, taken from it before it reads anything of a checkpoint: network, other processes, too much of the
machine. The export process, its only thread, first thing.

The network goes away with a network namespace of its own, which needs a user namespace, and a kernel that allows it to everyone. Where it
does not, and for what a namespace does not cover (a socket in the file system, another program), Python itself refuses: an audit hook,
which cannot be taken out again. No checkpoint brings native code, which would pass it by.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Any

from trine.artifact import Target
from trine.config import available_cores
from trine.export.plan import CheckpointInfo, ExportPlan

NAMESPACE, AUDIT_HOOK = "network namespace", "audit hook"
"""What keeps the process from the network, as the report says it."""
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_ABSENT = ("kernels", "peft")
"""Packages by which a checkpoint could name code or other weights to transformers: as if they were not installed."""
_FORBIDDEN = frozenset(
    {
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
        *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
        "pickle.find_class",
    }
)
"""Audit events (https://docs.python.org/3/library/audit_events.html)."""
_HEADROOM = 8 << 30
"""Address space for libraries, threads and the trace, beside the weights."""
_FILE_HEADROOM = 1 << 30
_DESCRIPTORS = 1024
_PROCESSES = 1024
"""Threads count."""
_CPU_SLACK = 60


def leave_the_network() -> str:
    """Returns what holds now: `NAMESPACE` or `AUDIT_HOOK`."""
    held = NAMESPACE if _new_namespaces() else AUDIT_HOOK
    sys.addaudithook(_refuse)
    for name in _ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]
    return held


def _new_namespaces() -> bool:
    """Its own user namespace, with the same ids in it, and its own network, where there is none."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
            return False
    except AttributeError:  # a C library without it
        return False
    with contextlib.suppress(OSError):  # without the maps it is nobody, who owns what it owned before
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    return True


def _refuse(event: str, _: tuple[Any, ...]) -> None:
    if event in _FORBIDDEN:
        raise PermissionError(f"an export may not do this: {event}")


def limit_first(plan: ExportPlan) -> dict[str, int]:
    """Limits that hold from the start, by their names in the report."""
    limits = {
        "address_space_bytes": _limit(resource.RLIMIT_AS, plan.memory_bytes or _HEADROOM)
        if _bounds_memory(plan)
        else 0,
        "processor_seconds": _limit(resource.RLIMIT_CPU, _processor_seconds(plan)),
        "descriptors": _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS),
        "wall_seconds": int(plan.timeout),
    }
    _limit(resource.RLIMIT_CORE, 0)
    with contextlib.suppress(
        OSError, ValueError
    ):  # counts all of the user's processes where there is no user namespace
        _limit(resource.RLIMIT_NPROC, _PROCESSES)
    return {name: value for name, value in limits.items() if value}


def limit_for(plan: ExportPlan, info: CheckpointInfo) -> dict[str, int]:
    """Limits that depend on the weights: address space is `plan.memory_bytes`, or three times the weights in float32 (half-precision
    files double) plus 8 GB; one file is at most twice the weights in float32 plus 1 GB.

    No limit of the address space for CUDA, whose driver reserves addresses for all memory that there is.
    """
    weights = 2 * info.weight_bytes
    limits = {"file_bytes": _limit(resource.RLIMIT_FSIZE, 2 * weights + _FILE_HEADROOM)}
    if _bounds_memory(plan):
        limits["address_space_bytes"] = _limit(
            resource.RLIMIT_AS, plan.memory_bytes or 3 * weights + _HEADROOM
        )
    return limits


def _bounds_memory(plan: ExportPlan) -> bool:
    return plan.precision is None or plan.precision.target is not Target.CUDA


def _processor_seconds(plan: ExportPlan) -> int:
    return int(plan.timeout) * (plan.threads or available_cores()) + _CPU_SLACK


def _limit(kind: int, wanted: int) -> int:
    """Set the soft limit, which a library cannot pass by chance; never beyond the hard one. Returns what holds."""
    _, most = resource.getrlimit(kind)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, most))
    return value
