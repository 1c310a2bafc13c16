"""The trace of random arrivals, and who of it the library takes next."""

from __future__ import annotations

import itertools
import statistics

import pytest
from bench import trace
from bench.trace import Request


def test_arrivals_come_at_the_rate_in_order_and_with_exponential_gaps() -> None:
    moments = trace.moments("a", 20.0, 500.0)
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] < 500
    assert len(moments) == pytest.approx(10_000, rel=0.05)
    assert statistics.mean(gaps) == pytest.approx(statistics.stdev(gaps), rel=0.05)  # as of no even spacing


def test_a_seed_is_a_trace() -> None:
    assert trace.moments("a", 5.0, 10.0) == trace.moments("a", 5.0, 10.0) != trace.moments("b", 5.0, 10.0)
    assert trace.sizes("a", 9) == trace.sizes("a", 9) != trace.sizes("b", 9)


def test_sizes_fill_their_ranges() -> None:
    sizes = trace.sizes("a", 5000)
    for values, (least, most) in (
        ([size.read for size in sizes], trace.READ),
        ([size.written for size in sizes], trace.WRITTEN),
    ):
        assert (min(values), max(values)) == (least, most)
        assert statistics.mean(values) == pytest.approx((least + most) / 2, rel=0.03)


def test_the_library_takes_all_that_is_queued_up_to_its_most() -> None:
    requests = [Request(at, [1], 1) for at in (0.0, 1.0, 2.0, 3.0, 9.0)]
    assert trace.due(requests, 0, 2.5, 32) == requests[:3]
    assert trace.due(requests, 0, 2.5, 2) == requests[:2]
    assert trace.due(requests, 3, 2.5, 32) == []
    assert trace.due(requests, 3, 100.0, 32) == requests[3:]
    assert trace.due(requests, 5, 100.0, 32) == []
