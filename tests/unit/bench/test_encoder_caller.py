"""The single caller beside another: how batches are read off the metrics, and what is made of the times."""

from __future__ import annotations

import threading

import pytest
from bench.encoder import batch_times, caller
from bench.encoder.batch_times import Ran
from bench.encoder.caller import Found

from trine.frames import Observed
from trine.telemetry.metrics import Metrics


def page(*seconds: float) -> str:
    metrics = Metrics()
    metrics.observe("bert", "1", Observed(compute=list(seconds), batch_size=[1] * len(seconds)))
    return metrics.render("")[0].decode()


def test_batches_are_read_off_the_servers_own_page() -> None:
    found = batch_times.read(page(0.03, 0.07, 0.09))
    assert found.count == 3
    assert found.seconds == pytest.approx(0.19)


def test_a_page_without_batches_has_none() -> None:
    assert batch_times.read("# no series") == Ran(0, 0.0)


def test_a_run_between_two_readings_is_told_by_itself_and_two_by_their_mean() -> None:
    readings = [Ran(5, 1.0), Ran(5, 1.0), Ran(6, 1.5), Ran(8, 2.5), Ran(8, 2.5)]
    assert batch_times.durations(readings) == [0.5, 0.5, 0.5]
    assert batch_times.durations([Ran(0, 0.0), Ran(1, 0.25), Ran(3, 2.25)]) == [0.25, 1.0, 1.0]
    assert batch_times.durations([Ran(9, 9.0)]) == []


def test_growth_is_the_difference_of_the_p99s_in_the_longest_batches() -> None:
    found = Found("bert-base", [0.1] * 99 + [0.2], [0.4] * 98 + [0.5, 0.5], batches=[0.1, 0.2, 0.1])
    assert found.growth == pytest.approx(2.0)


def test_a_missed_floor_is_told() -> None:
    found = Found("bert-base", [0.1], [0.7], [2.0], [0.1])
    assert "bert-base 6 (at most 2: **missed**)" in caller._lines([found])[-1]
    assert caller.to_json([found])[0]["beside_p99"] == 0.7


def test_calls_are_timed_until_told_otherwise_and_at_least_once() -> None:
    asked: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        asked.append(len(asked))
        if len(asked) == 3:
            stop.set()

    assert len(caller.timed(ask, lambda: not stop.is_set())) == 3
    assert len(caller.timed(ask, lambda: False)) == 1
    assert len(asked) == 4
