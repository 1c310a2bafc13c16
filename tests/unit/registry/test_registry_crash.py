"""A server that is killed at any of its file-system calls leaves the old state or the new, and no litter after the next start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STATES = [0, 1, 2, 3, 5, 6, 7]
"""After each step of crashing.py; that without the alias canary is the one before it, that without the name b likewise."""


def crashes(folder: Path, every: int) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.registry.crashing", str(folder), str(every)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[3],
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.proof)])
def test_a_crash_at_any_call_leaves_the_old_state_or_the_new(tmp_path: Path, every: int) -> None:
    told = crashes(tmp_path, every)
    assert len(told) > 200 // every
    assert [one["crashed"] for one in told] == [True] * (len(told) - 1) + [False]
    assert [one for one in told if one["found"] < 0] == []
    assert [one for one in told if not one["reader"]] == []
    if every == 1:
        assert sorted({one["found"] for one in told}) == STATES
