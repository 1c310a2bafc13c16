"""The limits of the parity gate, and its verdicts. The export process.

The limits stand here, in one place, and in each report; docs/decisions/0004 says why they are what they are.
"""

from __future__ import annotations

import math
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
    """At least this share of the texts (or of their tokens, where each is labeled) has the original's best label, ties aside."""
    embeddings: float = 1e-4
    """max|a-b| / max|b| of a pooled embedding, at most."""
    cosine: float = 0.99999
    """Cosine between the pooled embedding and the original's, at least."""
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


@dataclass(frozen=True, slots=True)
class Int8Limits:
    """int8 against our own float32 artifact, which has passed its gate."""

    labels: float = 0.99
    """At least this share of the texts (or of their tokens) has the same best label."""
    scores: float = 1e-2
    """Difference of a label's score, at most; where each token is labeled, the mean over the tokens of their largest difference."""
    cosine: float = 0.99
    """Cosine between the pooled embeddings, at least. An angle of 8 degrees: far less than between two texts of one meaning."""
    embeddings: float = 0.15
    """|a-b| / |b| of a pooled embedding (Euclidean norms), at most: the lengths too, where embeddings are not normalized."""
    best_token: float = 0.97
    """At least this share of the places along float32's own continuations has the same best token."""
    chrf: float = 90.0
    """chrF between the texts that the two write, at least."""
    batch_logits: float = 0.0
    """max|a-b| / max|b| between a sequence alone and in company: none, since a row's scale is the row's own."""
    self_test: float = 3e-2
    """max|a-b| / max|b| of the engine's self-test, at most. See agreement.py for why."""
    new_tokens: int = 32
    """Tokens of each continuation."""


FP32 = GateLimits()
FP16 = GateLimits(logits=1e-2, batch_logits=1e-2, greedy=0.97, ties=1.0, tie_margin=1e-2, self_test=1e-2)
"""float16 on CUDA against the checkpoint in float32 (docs/decisions/0013). The bits depend on the company there, since cuBLAS takes
another kernel for another number of rows; where a continuation parts from the original's, the two tokens must be close."""
BF16 = GateLimits(logits=6e-2, batch_logits=6e-2, greedy=0.97, ties=1.0, tie_margin=6e-2, self_test=6e-2)
"""As FP16; bfloat16 keeps 8 bits of each number instead of 11."""
INT8 = Int8Limits()


def drift(ours: Logits, reference: Logits) -> float:
    """max over the rows of max|a-b| / max|b|; infinite where a number is none."""
    if ours.shape != reference.shape:
        return float("inf")
    scale = np.maximum(np.abs(reference).max(axis=-1), np.finfo(np.float32).tiny)
    error = float((np.abs(ours.astype(np.float64) - reference).max(axis=-1) / scale).max())
    return error if np.isfinite(error) else float("inf")


def writable(value: float) -> float:
    """`value`, or the largest number where it is infinite: JSON has no infinity."""
    return min(value, float(np.finfo(np.float64).max))


@dataclass(slots=True)
class Report:
    """Everything that the gate saw; `parity` is what the manifest keeps of it."""

    limits: GateLimits | Int8Limits
    checks: list[ParityCheck] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    claim: str = "proved equal to the checkpoint"
    """What is proved when all checks pass."""
    overridden: bool = False
    """Published whatever it says."""
    unproved: str = ""
    """Why nothing was compared."""

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def parity(self) -> Parity:
        return Parity(self.passed, tuple(self.checks), overridden=self.overridden and not self.passed)

    @property
    def figures(self) -> str:
        """What failed, or everything where nothing did."""
        shown = [check for check in self.checks if not check.passed] or self.checks
        return ", ".join(_figure(check) for check in shown)

    @property
    def reason(self) -> str:
        """One line for people, with figures."""
        if self.unproved:
            return f"not verified: {self.unproved}"
        return f"{self.claim if self.passed else 'the parity gate failed'}: {self.figures}"

    def at_most(self, name: str, values: Iterable[float], limit: float) -> None:
        """The largest of `values` counts; one that is no number fails."""
        measured = list(values)
        value = float("inf") if any(map(math.isnan, measured)) else max(measured, default=float("inf"))
        self._add(name, value, limit, value <= limit, len(measured), at_least=False)

    def mean_at_most(self, name: str, values: Iterable[float], limit: float) -> None:
        """Their mean counts; one that is no number fails."""
        measured = list(values)
        mean = sum(measured) / len(measured) if measured else math.inf
        mean = math.inf if math.isnan(mean) else mean
        self._add(name, mean, limit, mean <= limit, len(measured), at_least=False)

    def at_least(self, name: str, value: float, limit: float, count: int) -> None:
        self._add(name, value, limit, value >= limit, count, at_least=True)

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
        self.checks.append(ParityCheck(name, writable(value), limit, at_least, passed, count))

    def to_json(self) -> dict[str, Any]:
        checks = [{name: getattr(check, name) for name in check.__struct_fields__} for check in self.checks]
        return {
            "passed": self.passed,
            "overridden": self.parity.overridden,
            "reason": self.reason,
            "checks": checks,
            "gate_limits": asdict(self.limits),
            **self.details,
        }


def chained(fp32: Report, int8: Report) -> Report:
    """The verdict on an int8 artifact: float32 answers as the checkpoint does, and int8 as float32 does."""
    details = fp32.details | {"int8": int8.to_json()}
    claim = "float32 proved equal to the checkpoint, int8 close to float32"
    return Report(fp32.limits, [*fp32.checks, *int8.checks], details, claim)


def _figure(check: ParityCheck) -> str:
    bound = "at least" if check.at_least else "at most"
    return f"{check.name} {check.value:.3g} ({bound} {check.limit:g}, {check.count} compared)"
