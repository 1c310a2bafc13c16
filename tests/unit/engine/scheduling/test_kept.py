"""Sweeps on disk: found again by whom they hold for, and never in anybody's way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trine.engine.scheduling.kept import FOLDER, KeptSweep

POINTS = [(8, 0.01), (16, 0.0125)]
EPYC = "processor\t: {n}\nmodel name\t: AMD EPYC\ncpu MHz\t\t: {mhz}\nflags\t\t: fpu avx2\n\n"


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(EPYC.format(n=0, mhz=2600) + EPYC.format(n=1, mhz=2599))
    return path


def test_what_was_kept_is_found_again(tmp_path: Path, cpuinfo: Path) -> None:
    kept = KeptSweep(tmp_path, ["onnxruntime 1", 2, 0.1], cpuinfo)
    assert kept.read() is None
    kept.write([(8, 0.5)])
    kept.write(POINTS)
    assert KeptSweep(tmp_path, ["onnxruntime 1", 2, 0.1], cpuinfo).read() == POINTS
    assert os.listdir(tmp_path / FOLDER) == [kept.path.name], "nothing temporary is left"


def test_another_machine_or_setting_has_a_file_of_its_own(tmp_path: Path, cpuinfo: Path) -> None:
    paths = {KeptSweep(tmp_path, settings, cpuinfo).path for settings in ([2, 0.1], [1, 0.1], [2, 0.2])}
    text = cpuinfo.read_text()
    for other in (text.replace("EPYC", "Ryzen"), text.replace("avx2", "avx2 avx512_vnni"), ""):
        cpuinfo.write_text(other)
        paths.add(KeptSweep(tmp_path, [2, 0.1], cpuinfo).path)
    paths.add(KeptSweep(tmp_path, [2, 0.1], tmp_path / "there is none").path)
    assert len(paths) == 6, "no cpuinfo and an empty one are the same"


def test_a_core_at_another_clock_rate_is_the_same_machine(tmp_path: Path, cpuinfo: Path) -> None:
    before = KeptSweep(tmp_path, [], cpuinfo).path
    cpuinfo.write_text(EPYC.format(n=0, mhz=1500))
    assert KeptSweep(tmp_path, [], cpuinfo).path == before


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "7",
            "null",
            "[]",
            "{}",
            "[[8]]",
            "[[8, 0.1, 1]]",
            '[["8", 0.1]]',
            "[[8, 1]]",
            "[[8.0, 0.1]]",
        ),
        *(
            "[[8, 0.0]]",
            "[[8, NaN]]",
            "[[8, Infinity]]",
            "[[8, -0.1]]",
            "[[16, 0.1], [8, 0.2]]",
            "[[0, 0.1]]",
        ),
        *("[[8, 0.1], [8, 0.1]]", "[[true, 0.1]]", "\xff"),
    ],
)
def test_what_no_sweep_writes_is_as_nothing(tmp_path: Path, cpuinfo: Path, content: str) -> None:
    kept = KeptSweep(tmp_path, [], cpuinfo)
    kept.path.parent.mkdir()
    kept.path.write_bytes(content.encode("latin-1"))
    assert kept.read() is None
    kept.write(POINTS)
    assert kept.read() == POINTS


def test_a_volume_that_cannot_be_written_is_no_error(tmp_path: Path, cpuinfo: Path) -> None:
    """Whoever runs as root writes everywhere, so the folder is a file here."""
    (tmp_path / FOLDER).write_text("")
    kept = KeptSweep(tmp_path, [], cpuinfo)
    kept.write(POINTS)
    assert kept.read() is None
    missing = KeptSweep(tmp_path / "deleted meanwhile", [], cpuinfo)
    missing.write(POINTS)
    assert not (tmp_path / "deleted meanwhile").exists()


def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, cpuinfo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptSweep(tmp_path, [], cpuinfo)
    kept.write(POINTS)

    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(json, "dump", full)
    kept.write([(8, 9.0)])
    assert kept.read() == POINTS
    assert os.listdir(tmp_path / FOLDER) == [kept.path.name]
