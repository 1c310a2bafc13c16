"""Processor time of processes, and of the machine, as Linux accounts for it in /proc. Pure reads, any process."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_STATE, _PARENT, _TIMES = 0, 1, slice(11, 15)
"""Places in /proc/PID/stat behind the command's name: utime, stime, and both of the children that were waited for."""
PROC = Path("/proc")


def processor_seconds(root: int, proc: Path = PROC) -> float:
    """User and system time of the process `root` and of all that descend from it, those that ended and were reaped included.

    Counts in ticks of the kernel, 10 ms as a rule. Raises ProcessLookupError when `root` is gone.
    """
    stats = _stats(proc)
    if root not in stats or stats[root][_STATE] == "Z":
        raise ProcessLookupError(root)
    return sum(int(ticks) for pid in tree(root, proc) for ticks in stats[pid][_TIMES] if pid in stats) * _TICK


def tree(root: int, proc: Path = PROC) -> list[int]:
    """Process ids of `root` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats(proc).items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def machine_seconds(proc: Path = PROC) -> tuple[float, float]:
    """Processor time of all processes since the machine started, and the time that all its cores could have given."""
    user, nice, system, idle, iowait, irq, softirq, steal, *_ = map(
        int, (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    busy = user + nice + system + irq + softirq + steal
    return busy * _TICK, (busy + idle + iowait) * _TICK


def _stats(proc: Path) -> dict[int, list[str]]:
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it ended meanwhile
                continue
            found[int(folder.name)] = text.rpartition(")")[2].split()
    return found
