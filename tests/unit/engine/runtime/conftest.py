"""Tiny artifacts of each family, written once for a test session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import Weights
from trine.artifact import Artifact, Family


@dataclass(slots=True)
class Chunk:
    """As engine.scheduling has it."""

    row: int
    tokens: list[int]
    past: int
    choice: object | None = None


@pytest.fixture(scope="session")
def weights() -> Weights:
    return Weights()


@pytest.fixture(scope="session")
def artifact_of(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Callable[..., Artifact]:
    """artifact_of(family, **manifest changes): one folder for each combination."""
    made: dict[str, Artifact] = {}

    def build(family: Family, **changes: Any) -> Artifact:
        key = f"{family}{sorted(changes.items())}"
        if key not in made:
            made[key] = tiny_artifacts.write(tmp_path_factory.mktemp("artifact"), family, weights, **changes)
        return made[key]

    return build
