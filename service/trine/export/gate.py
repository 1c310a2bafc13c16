"""The limits of the parity gate, and its verdict. The export process.

The limits stand here, in one place, and in each report; docs/decisions/0004 says why they are what they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from trine.artifact import Parity, ParityCheck
from trine.export.reference import Logits


@dataclass(frozen=True, slots=True)
class GateLimits:
    token_ids: float = 1.0
    """At least this share of the texts has the original tokenizer's ids."""
    logits: float = 1e-4
    """max|a-b| / max|b| of a row, at most."""
    batch_logits: float = 1e-5
    """The same between a sequence alone and in company."""
    labels: float = 1.0
    """At least this share of the texts has the original's best label."""
    greedy: float = 1.0
    """At least this share of the continuations is the original's, token by token, ties aside."""
    ties: float = 1e-3
    """At most this share of the continuations may part at a tie; one always may."""
    tie_margin: float = 1e-5
    """A tie: the reference's two best logits are closer than this, relative to the row's largest."""
    texts: float = 1.0
    """At least this share of the continuations reads as the original tokenizer's text."""
    self_test: float = 1e-3
    """max|a-b| / max|b| of the engine's self-test, at most."""
    new_tokens: int = 32
    """Tokens of each continuation."""
    logit_tokens: int = 8
    """So many of them have their logits compared too, alone and in company."""


FP32 = GateLimits()


def drift(ours: Logits, reference: Logits) -> float:
    """max over the rows of max|a-b| / max|b|; infinite where a number is none."""
    if ours.shape != reference.shape:
        return float("inf")
    scale = np.maximum(np.abs(reference).max(axis=-1), np.finfo(np.float32).tiny)
    error = float((np.abs(ours.astype(np.float64) - reference).max(axis=-1) / scale).max())
    return error if np.isfinite(error) else float("inf")


@dataclass(slots=True)
class Report:
    """Everything that the gate saw; `parity` is what the manifest keeps of it."""

    limits: GateLimits
    checks: list[ParityCheck] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def parity(self) -> Parity:
        return Parity(passed=self.passed, checks=tuple(self.checks))

    @property
    def reason(self) -> str:
        """One line for people, with figures."""
        shown = [check for check in self.checks if not check.passed] or self.checks
        figures = ", ".join(_figure(check) for check in shown)
        return (
            f"proved equal to the checkpoint: {figures}"
            if self.passed
            else f"the parity gate failed: {figures}"
        )

    def at_most(self, name: str, values: Iterable[float], limit: float) -> None:
        """The largest of `values` counts."""
        measured = list(values)
        value = max(measured, default=float("inf"))
        self._add(name, value, limit, value <= limit, len(measured), at_least=False)

    def few(self, name: str, number: int, count: int, limit: int) -> None:
        """`number` of `count` are odd, and so many may be."""
        self._add(name, number, limit, number <= limit, count, at_least=False)

    def share(self, name: str, good: Iterable[bool], limit: float) -> None:
        """The share of what is good counts."""
        measured = list(good)
        value = sum(measured) / len(measured) if measured else 0.0
        self._add(name, value, limit, value >= limit, len(measured), at_least=True)

    def _add(
        self, name: str, value: float, limit: float, passed: bool, count: int, *, at_least: bool
    ) -> None:
        value = min(value, float(np.finfo(np.float64).max))  # JSON has no infinity
        self.checks.append(ParityCheck(name, value, limit, at_least, passed, count))

    def to_json(self) -> dict[str, Any]:
        checks = [{name: getattr(check, name) for name in check.__struct_fields__} for check in self.checks]
        return {
            "passed": self.passed,
            "reason": self.reason,
            "checks": checks,
            "limits": asdict(self.limits),
            **self.details,
        }


def _figure(check: ParityCheck) -> str:
    bound = "at least" if check.at_least else "at most"
    return f"{check.name} {check.value:.3g} ({bound} {check.limit:g}, {check.count} compared)"
