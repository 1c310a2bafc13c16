"""Sweeps kept beside the artifact, so that an engine that starts again need not measure (docs/decisions/0015).

A sweep tells of an artifact on a machine. The artifact never changes, but a volume may be shared by many machines: each kind has a
file of its own, which is replaced as a whole. Where it cannot be read there is none, and where the volume cannot be written none is
kept; neither is an error. Engine process, its only thread, at load.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trine.engine.scheduling.pace import Point

logger = logging.getLogger(__name__)

FOLDER = "sweeps"
_CPU = ("model name", "flags", "Features", "CPU implementer", "CPU part")
"""What /proc/cpuinfo says of an x86 or ARM core that decides how fast it multiplies."""


class KeptSweep:
    """The one file of a version folder that tells of this machine under these settings."""

    def __init__(
        self, version: Path, settings: Sequence[object], cpuinfo: Path = Path("/proc/cpuinfo")
    ) -> None:
        """`settings` is all but the processor that a sweep depends on: threads, runtime, what was asked for."""
        key = "\n".join([*_processor(cpuinfo), *map(repr, settings)])
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.path = version / FOLDER / f"{name}.json"

    def read(self) -> list[Point] | None:
        try:
            points = [(tokens, seconds) for tokens, seconds in json.loads(self.path.read_bytes())]
        except (OSError, ValueError, TypeError):
            return None
        return points if _plausible(points) else None

    def write(self, points: Sequence[Point]) -> None:
        """Readers see the old content, the new, or none."""
        try:
            self.path.parent.mkdir(exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".", dir=self.path.parent)
        except OSError:
            logger.info("the measured speed is not kept: the version's folder cannot be written")
            return
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(list(points), file)
            os.chmod(temporary, 0o644)
            os.rename(temporary, self.path)
        except OSError:
            logger.info("the measured speed could not be kept")
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _processor(cpuinfo: Path) -> list[str]:
    """Lines of the first core; none where the system does not tell."""
    try:
        first = cpuinfo.read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return []
    return [line for line in first.splitlines() if line.partition("\t")[0].strip() in _CPU]


def _plausible(points: Sequence[Point]) -> bool:
    """Whether a sweep can have written them: tokens grow, and everything lasts."""
    if not points or not all(type(tokens) is int and type(seconds) is float for tokens, seconds in points):
        return False
    counts = [tokens for tokens, _ in points]
    grows = counts == sorted(set(counts)) and counts[0] > 0
    return grows and all(math.isfinite(seconds) and seconds > 0 for _, seconds in points)
