"""Processor time of a tree of processes, from a made-up /proc and from real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from bench import accounting

TICK = 1 / os.sysconf("SC_CLK_TCK")


def put(
    proc: Path, pid: int, parent: int, times: Sequence[int], name: str = "python", state: str = "S"
) -> None:
    """/proc/PID/stat: fields 3 and 4 are state and parent, 14 to 17 the times."""
    (proc / str(pid)).mkdir()
    fields = [state, parent, *range(100, 109), *times, 20, 0, 2]
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")


def test_a_tree_is_summed_and_its_neighbors_are_not(tmp_path: Path) -> None:
    put(tmp_path, 10, 1, [100, 20, 3, 4])
    put(tmp_path, 11, 10, [1000, 200, 0, 0])
    put(tmp_path, 12, 11, [10000, 0, 0, 0])
    put(tmp_path, 13, 1, [77, 77, 77, 77])
    assert sorted(accounting.tree(10, tmp_path)) == [10, 11, 12]
    assert accounting.processor_seconds(10, tmp_path) == pytest.approx(11327 * TICK)


def test_a_name_with_brackets_and_spaces_moves_no_field(tmp_path: Path) -> None:
    put(tmp_path, 10, 1, [5, 6, 0, 0], name="a) 1 (b")
    assert accounting.processor_seconds(10, tmp_path) == pytest.approx(11 * TICK)


def test_a_process_that_is_gone_or_a_zombie_has_no_time(tmp_path: Path) -> None:
    put(tmp_path, 10, 1, [5, 6, 0, 0], state="Z")
    for pid in (10, 11):
        with pytest.raises(ProcessLookupError):
            accounting.processor_seconds(pid, tmp_path)


def test_the_machine_is_busy_in_everything_but_idle_and_iowait(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 4 100 200 8 16 32 5 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    busy, total = accounting.machine_seconds(tmp_path)
    assert busy == pytest.approx(63 * TICK)
    assert total == pytest.approx(363 * TICK)


def test_a_child_counts_while_it_lives_and_after_it_was_reaped() -> None:
    """The parent does nothing; its child says what it used itself."""
    child = (
        "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True)\ninput()"
    )
    parent = (
        f"import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "p.wait()\nprint('reaped', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        used = float(process.stdout.readline())
        alive = accounting.processor_seconds(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "reaped\n"
        assert accounting.tree(process.pid) == [process.pid]
        reaped = accounting.processor_seconds(process.pid)
    assert alive >= used - 4 * TICK
    assert reaped >= used - 4 * TICK
