"""The machine and what else it does: who reads a figure must know both. Pure reads, any process."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import accounting

_INT8_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def describe() -> dict[str, str]:
    fields = _cpuinfo(Path("/proc/cpuinfo"))
    flags = set(fields.get("flags", "").split())
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "processor": f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family', '?')} "
        f"model {fields.get('model', '?')}",
        "cores": str(len(os.sched_getaffinity(0))),
        "instructions": ", ".join(flag for flag in _INT8_FLAGS if flag in flags),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
    }


def _cpuinfo(path: Path) -> dict[str, str]:
    """The first processor's fields."""
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine did between two moments."""

    seconds: float
    bench: float
    """Share of the machine's processor time that the bench and its candidates took, 0 to 1."""
    others: float
    """Share that everything else took."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Watch:
    """Begins to count when it is made."""

    def __init__(self) -> None:
        self._machine = accounting.machine_seconds()
        self._bench = accounting.processor_seconds(os.getpid())

    def load(self) -> Load:
        busy, total = accounting.machine_seconds()
        busy, total = busy - self._machine[0], total - self._machine[1]
        bench = accounting.processor_seconds(os.getpid()) - self._bench
        return Load(total / (os.cpu_count() or 1), bench / total, max(0.0, busy - bench) / total)
