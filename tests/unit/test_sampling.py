"""Bounds of the sampling and stopping parameters: each names its field, and NaN is nowhere within."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trine.errors import InvalidInput
from trine.sampling import Sampling, Stopping

BOUNDS: list[tuple[str, float, float]] = [
    ("temperature", 0.0, 10.0),
    ("min_p", 0.0, 1.0),
    ("repetition_penalty", 0.1, 10.0),
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
    ("no_repeat_ngram_size", 0, 64),
]


def refusal(parameters: Sampling | Stopping) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parameters.validate()
    return caught.value


@pytest.mark.parametrize(("name", "least", "most"), BOUNDS)
def test_bounds(name: str, least: float, most: float) -> None:
    for value in (least, most):
        Sampling(**{name: value}).validate()  # type: ignore[arg-type]
    for value in (least - 0.01, most + 0.01, math.nan, math.inf, -math.inf):
        error = refusal(Sampling(**{name: value}))  # type: ignore[arg-type]
        assert error.field == f"sampling.{name}"
        assert error.message.startswith(f"{name} must be between {least:g} and {most:g}")


@pytest.mark.parametrize(
    "bias", [{3: math.nan}, {3: 100.5}, {3: -math.inf}, {1: 0.0, 3: -101.0}, dict.fromkeys(range(1025), 0.0)]
)
def test_biases(bias: dict[int, float]) -> None:
    Sampling(logit_bias={3: -100.0, 4: 100.0}).validate()
    Sampling(logit_bias=dict.fromkeys(range(1024), 0.5)).validate()
    assert refusal(Sampling(logit_bias=bias)).field == "sampling.logit_bias"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strings": ("a", "")}, "stop[1]"),
        ({"strings": ("a", "b", "x" * 257)}, "stop[2]"),
        ({"strings": ("a",) * 17}, "stop"),
        ({"token_ids": tuple(range(65))}, "stop_token_ids"),
    ],
)
def test_stops(changes: dict[str, Any], field: str) -> None:
    Stopping(9, ("é" * 256,) * 16, tuple(range(64))).validate()
    assert refusal(Stopping(**changes)).field == field


def test_defaults_are_plain_greedy_search() -> None:
    Sampling().validate()
    Stopping().validate()
    assert Sampling().greedy
    assert not Sampling().processes
