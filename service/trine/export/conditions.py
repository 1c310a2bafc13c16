"""Under what an artifact was made: what the report says beside the gate's figures. The export process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from trine.export import trial
from trine.export.plan import RECIPE
from trine.export.trial import GiveUp

_PACKAGES = (
    "trine",
    "torch",
    "transformers",
    "optimum",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "tokenizers",
    "safetensors",
    "numpy",
)

Told = Callable[[str, float, str], None]
"""Is told the stage, how much of it is done (0 to 1), and a line for people."""


@dataclass(frozen=True, slots=True)
class Conditions:
    network_isolation: str = ""
    """How the process was kept from the network; empty: it was not, as in tests."""
    limits: Mapping[str, int] = field(default_factory=dict)
    give_up: GiveUp = trial.end_process

    def to_json(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        return {
            "recipe": RECIPE,
            "packages": _versions(),
            "stage_seconds": {stage: round(value, 3) for stage, value in seconds.items()},
            "network_isolation": self.network_isolation,
            "limits": dict(self.limits),
        }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class Stopwatch:
    """Passes on what is told, and knows how long each stage took: from its first word to the next stage's."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._stage = ""
        self._since = time.monotonic()
        self._seconds: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float, message: str) -> None:
        if stage != self._stage:
            self._close()
            self._stage = stage
        self._told(stage, fraction, message)

    @property
    def seconds(self) -> dict[str, float]:
        self._close()
        return dict(self._seconds)

    def _close(self) -> None:
        now = time.monotonic()
        if self._stage:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._since = now
