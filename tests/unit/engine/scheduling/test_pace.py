"""How long batches are taken to last, on curves that a person reads off."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trine.engine.scheduling.pace import LEAST, Curve, Pace, Point

CURVE = [(8, 0.010), (16, 0.012), (32, 0.016), (64, 0.024), (128, 0.040)]
"""8 ms, and a quarter of a millisecond for a token."""


def test_lines_go_through_the_points_and_on() -> None:
    curve = Curve(CURVE)
    for tokens in (1, 8, 12, 48, 128, 1000):
        assert curve.seconds(tokens) == pytest.approx(0.008 + tokens / 4000)
        assert curve.tokens(0.008 + tokens / 4000) == pytest.approx(tokens)


def test_two_first_points_alike_do_not_make_every_batch_quick() -> None:
    assert Pace(2048, 0.005, [(8, 0.012), (16, 0.009), (32, 0.016)]).budget == LEAST


def test_beyond_the_points_hope_is_no_steeper_than_what_was_measured() -> None:
    pace = Pace(2048, 0.1, [(512, 0.05), (1024, 0.12)])
    assert pace.at_least(10_240) == pytest.approx(1.2)
    assert pace.likely(10_240) > 1.2


def test_a_single_point_stands_for_a_line_through_nothing() -> None:
    assert Curve([(8, 0.4)]).seconds(4) == pytest.approx(0.2)


def test_a_disturbed_point_counts_no_more_than_a_larger_batch() -> None:
    assert Curve([(8, 0.5), (16, 0.1), (32, 0.2)]).seconds(8) == pytest.approx(0.1)


@settings(deadline=None)
@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=9).map(
        lambda seconds: [(8 << n, each) for n, each in enumerate(seconds)]
    ),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_more_tokens_never_last_less_long(points: list[Point], few: int, many: int) -> None:
    few, many = sorted((few, many))
    assert 0 <= Curve(points).seconds(few) <= Curve(points).seconds(many)


@pytest.mark.parametrize(
    ("longest", "most", "budget"),
    [(0.030, 2048, 88), (0.030, 64, 64), (0.001, 2048, LEAST), (0.05, 2048, 168)],
)
def test_the_budget_is_what_lasts_so_long_within_its_bounds(longest: float, most: int, budget: int) -> None:
    assert Pace(most, longest, CURVE).budget == budget


def test_without_points_a_batch_lasts_no_time_and_has_no_bound_but_one() -> None:
    pace = Pace(64)
    pace.saw(64, 9.0)
    pace.doubt()
    assert (pace.budget, pace.likely(1000), pace.at_least(1000)) == (64, 0.0, 0.0)


def serve(pace: Pace, slower: float, batches: int) -> None:
    """Full batches on a machine that is `slower` times as slow as the curve says."""
    for _ in range(batches):
        pace.saw(pace.budget, slower * (0.008 + pace.budget / 4000))


@pytest.mark.parametrize("slower", [0.01, 0.25, 0.6, 1.0, 1.7, 4.0])
def test_a_curve_that_was_measured_under_other_load_is_corrected(slower: float) -> None:
    pace = Pace(2048, 0.1, CURVE)
    serve(pace, slower, 70)
    assert slower * (0.008 + pace.budget / 4000) == pytest.approx(0.1, rel=0.01) or pace.budget in (
        LEAST,
        2048,
    )
    assert pace.likely(100) == pytest.approx(slower * 0.033)
    serve(pace, 1.0, 70)
    assert pace.budget == Pace(2048, 0.1, CURVE).budget, "and back again, from wherever it was"


def test_a_hiccup_now_and_then_changes_nothing() -> None:
    pace = Pace(2048, 0.1, CURVE)
    for _ in range(20):
        serve(pace, 1.0, 9)
        serve(pace, 30.0, 1)
    assert pace.budget == Pace(2048, 0.1, CURVE).budget
    assert pace.at_least(100) <= 0.033 * 1.1


def test_small_batches_say_nothing_of_large_ones() -> None:
    pace = Pace(2048, 0.1, CURVE)
    for _ in range(100):
        pace.saw(20, 0.2)
        pace.saw(2, 9.0)
    assert pace.budget == Pace(2048, 0.1, CURVE).budget


def test_the_best_is_hopeful_and_the_likely_careful() -> None:
    pace = Pace(2048, 0.1, CURVE)
    for number in range(64):
        pace.saw(300, 0.083 * (1.0, 1.2, 1.4, 1.6)[number % 4])
    assert pace.likely(100) == pytest.approx(0.033 * 1.6)
    assert 0.033 <= pace.at_least(100) <= 0.033 * 1.05


def test_what_refuses_everybody_is_doubted_until_somebody_is_let_by() -> None:
    """A curve that is four times too slow, and callers who all have half of what it says: nothing runs, so nothing is learnt."""
    pace = Pace(2048, 0.1, CURVE)
    refusals = 0
    while pace.at_least(100) > 0.033 / 2:
        pace.doubt()
        refusals += 1
    assert refusals < 20
    pace.saw(100, 0.033 / 4)
    assert pace.at_least(100) == pytest.approx(0.033 / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4096), st.floats(0, 1e6)), max_size=100))
def test_whatever_is_seen_the_budget_keeps_its_bounds(seen: list[tuple[int, float]]) -> None:
    pace = Pace(512, 0.1, CURVE)
    for tokens, seconds in seen:
        pace.saw(tokens, seconds)
        assert LEAST <= pace.budget <= 512
        assert 0 < pace.at_least(8) <= pace.at_least(512)
        assert 0 < pace.likely(8) <= pace.likely(512)
