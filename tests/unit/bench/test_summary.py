"""Medians, quartiles, ratios and tables against figures worked out by hand."""

from __future__ import annotations

import statistics

import pytest
from bench import summary
from bench.summary import Sample, Spread


def samples(*processor: float) -> list[Sample]:
    return [Sample(value, 2 * value) for value in processor]


def test_quartiles_are_interpolated() -> None:
    assert summary.spread([5, 1, 2, 4, 3]) == Spread(3, 2, 4)
    assert summary.spread([1, 2, 3, 4]) == Spread(2.5, 1.75, 3.25)
    assert summary.spread([7]) == Spread(7, 7, 7)
    with pytest.raises(statistics.StatisticsError):
        summary.spread([])


def test_a_ratio_is_taken_round_by_round() -> None:
    """Twice as fast in every round, however loud the rounds: the ratio of the medians would tell the same, those of others not."""
    ours, theirs = samples(1, 10, 100), samples(2, 20, 200)
    assert summary.ratio(ours, theirs) == Spread(2, 2, 2)
    assert summary.ratio(theirs, ours) == Spread(0.5, 0.5, 0.5)
    assert summary.ratio(samples(1, 10, 4), samples(3, 10, 8)).median == 2


def test_rounds_that_do_not_pair_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        summary.ratio(samples(1, 2), samples(1, 2, 3))


def test_the_servers_share_is_a_difference_of_pairs() -> None:
    assert summary.overhead(samples(5, 7, 3), samples(4, 8, 1)) == [1, -1, 2]


def test_a_table_has_a_dash_where_nothing_was_measured() -> None:
    cells = {("x", "a"): "1", ("y", "b"): "2"}
    assert summary.table(["x", "y"], ["a", "b"], cells, "work") == (
        "| work | a | b |\n| --- | --- | --- |\n| x | 1 | - |\n| y | - | 2 |"
    )


def test_the_json_keeps_every_sample() -> None:
    data = summary.to_json(samples(1, 2, 3))
    assert data["processor_ms_per_token"] == {"median": 2, "lower": 1.5, "upper": 2.5}
    assert data["wall_ms_per_token"]["median"] == 4
    assert data["rounds"] == [{"processor": value, "wall": 2 * value} for value in (1, 2, 3)]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert summary.percentile(values, 0.5) == 50
    assert summary.percentile(values, 0.95) == 95
    assert summary.percentile(values, 1) == 100
    assert summary.percentile([7.0], 0.01) == 7
    with pytest.raises(ValueError, match="no values"):
        summary.percentile([], 0.5)
