"""What the exporter writes passes the rules for what others hand us."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.export.conftest import Exported
from trine.artifact import REPORT
from trine.registry import imported


@pytest.mark.parametrize("family", ["bert", "gpt2", "marian"])
def test_an_export_passes_the_rules_for_imports(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(family).artifact.folder, tmp_path / "artifact"))
    assert imported.check(folder).manifest.parity.passed


def test_the_report_says_under_what_it_was_made(bert: Exported) -> None:
    report = json.loads(bert.artifact.path(REPORT).read_text())
    assert {"recipe", "packages", "stage_seconds", "network_isolation", "limits", "reason"} <= report.keys()
    assert {"read", "export", "optimize", "verify"} <= report["stage_seconds"].keys()
    assert "torch" in report["packages"]
