"""What is measured, and when it is told."""

from __future__ import annotations

from tests.unit.engine.scheduling.stand_ins import Clock, generation
from trine import frames
from trine.engine.scheduling.meter import Meter


def metered() -> tuple[Meter, Clock]:
    clock = Clock()
    meter = Meter(clock)
    first = meter.take(0, 0, 0.0)
    assert first is not None
    assert first.rss_bytes > 1 << 20, "the first message tells the process's memory"
    return meter, clock


def take(meter: Meter) -> frames.Observed:
    observed = meter.take(0, 0, 0.0)
    assert observed is not None
    return observed


def test_says_nothing_while_nothing_changes() -> None:
    meter, _ = metered()
    assert meter.take(0, 0, 0.0) is None


def test_gauges_that_changed_are_worth_a_message() -> None:
    meter, _ = metered()
    observed = meter.take(3, 2, 0.5)
    assert observed is not None
    assert (observed.waiting, observed.running, observed.cache_used) == (3, 2, 0.5)
    assert meter.take(3, 2, 0.5) is None


def test_a_run() -> None:
    meter, clock = metered()
    first, second = generation([1] * 5, 1), generation([1] * 3, 1)
    first.chunk, second.chunk = 5, 2
    clock.now += 2.0
    began = clock()
    clock.now += 0.5
    meter.ran([first, second], began)
    meter.ran([first], began)
    observed = take(meter)
    assert observed.queue == [2.0, 2.0], "queued until the first run, counted once"
    assert observed.compute == [0.5, 0.5]
    assert (observed.batch_size, observed.batch_tokens) == ([2, 1], [7, 5])
    assert observed.input_tokens == 8


def test_tokens_of_a_sequence() -> None:
    meter, clock = metered()
    sequence = generation([1], 3)
    for pause in (2.0, 0.25, 0.5):
        clock.now += pause
        meter.wrote(sequence)
    observed = take(meter)
    assert (observed.first_token, observed.inter_token) == ([2.0], [0.25, 0.5])
    assert observed.output_tokens == 3


def test_a_warm_up_is_forgotten() -> None:
    meter, _ = metered()
    meter.tokenized(0.5)
    meter.wasted(7)
    meter.forget()
    assert meter.take(0, 0, 0.0) is None


def test_each_measurement_is_told_once() -> None:
    meter, _ = metered()
    meter.tokenized(0.125)
    meter.wasted(0)
    meter.wasted(7)
    observed = take(meter)
    assert (observed.tokenize, observed.wasted_tokens) == ([0.125], 7)
    assert meter.take(0, 0, 0.0) is None


def test_the_prefix_cache_is_counted_and_its_memory_lasts() -> None:
    meter, _ = metered()
    meter.looked_up(10, 0)
    meter.kept(300)
    observed = take(meter)
    assert (observed.prefix_lookup_tokens, observed.prefix_hit_tokens, observed.prefix_bytes) == (10, 0, 300)
    assert meter.take(0, 0, 0.0) is None
    meter.looked_up(7, 4)
    observed = take(meter)
    assert (observed.prefix_lookup_tokens, observed.prefix_hit_tokens, observed.prefix_bytes) == (7, 4, 300)
