"""Deadlines in the batches of the encoder family, on an engine whose time a person adds up: 8 ms a batch, 1 ms for four tokens."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.engine.scheduling.busy_engine import (
    BUDGET,
    CURVE,
    LONGEST,
    BusyEngine,
    items,
    lasting,
    tokens_of,
)
from tests.unit.engine.scheduling.stand_ins import call
from trine.engine.scheduling.call import Call
from trine.engine.scheduling.pace import Pace

NOW = 1000.0


def urgent(number: int, seconds: float, caller: str = "one") -> Call:
    return call(number, caller=caller, deadline=NOW + seconds)


def test_a_call_that_has_no_time_for_its_own_inputs_is_given_up_at_once() -> None:
    """400 tokens take 108 ms in one piece."""
    engine = BusyEngine()
    hopeless, just = urgent(1, 0.100), urgent(2, 0.140)
    engine.batcher.add(items(hopeless, *[40] * 10))
    engine.batcher.add(items(just, *[40] * 2))
    assert engine.batcher.late() == [hopeless]
    engine.finish()
    assert list(engine.given_up) == [hopeless]
    assert {item.call for item in engine.ends} == {just}


def test_a_call_that_is_late_after_those_before_it_never_runs() -> None:
    engine = BusyEngine()
    first, second = urgent(1, 0.0285), urgent(2, 0.0290)
    engine.batcher.add(items(first, 80))
    engine.batcher.add(items(second, 8))
    engine.step()
    assert engine.batches == [[item] for item in engine.ends if item.call is first]
    assert engine.batcher.waiting == 0, "it does not count as waiting"
    engine.finish()
    assert list(engine.given_up) == [second]


def test_what_is_given_up_and_cancelled_before_it_is_told_is_forgotten() -> None:
    engine = BusyEngine()
    gone = urgent(1, 0.001)
    engine.batcher.add(items(gone, 40))
    assert engine.batcher.choose() == []
    assert engine.batcher.discard(gone) == 0
    assert engine.batcher.late() == []


def test_a_batch_ends_before_it_makes_a_member_late() -> None:
    """The urgent one has time for 48 tokens beside it."""
    engine = BusyEngine()
    patient, hasty = call(1, caller="patient"), urgent(2, 0.0225, "hasty")
    engine.batcher.add(items(patient, *[8] * 30))
    engine.batcher.add(items(hasty, 10))
    engine.step()
    assert tokens_of(engine.batches[0]) == 58
    (found,) = [item for item in engine.batches[0] if item.call is hasty]
    assert engine.ends[found] <= hasty.deadline
    engine.step()
    assert tokens_of(engine.batches[1]) == BUDGET, "and the next one is as long as ever"


def test_a_member_that_is_late_in_any_case_cuts_nothing() -> None:
    """It has a third of the time that it likely needs; that it may be lucky is no reason to make others wait."""
    pace = Pace(2048, LONGEST, CURVE)
    for _ in range(40):
        pace.saw(BUDGET, 3 * lasting(BUDGET))
    pace.saw(BUDGET, lasting(BUDGET))  # once
    engine = BusyEngine(pace)
    lucky = urgent(1, lasting(8) + 0.001, "hasty")
    engine.batcher.add([*items(lucky, 8), *items(call(2), *[8] * 30)])
    engine.step()
    assert lucky in {item.call for item in engine.batches[0]}
    assert tokens_of(engine.batches[0]) == pace.budget // 8 * 8


def hasty_and_patient(engine: BusyEngine, batches: int) -> None:
    """A patient caller with no end of inputs, and one whose every input has just so much time as it takes alone."""
    engine.batcher.add(items(call(1, caller="patient"), *[8] * 2000))
    for number in range(batches):
        deadline = engine.clock.now + lasting(8) * 1.01
        engine.batcher.add(items(call(10 + number, caller="hasty", deadline=deadline), 8))
        engine.step()


def test_haste_cuts_no_two_batches_in_a_row_where_others_wait() -> None:
    engine = BusyEngine()
    hasty_and_patient(engine, 50)
    assert len(engine.batches) == 50
    for one, next_one in zip(engine.batches, engine.batches[1:], strict=False):
        assert max(tokens_of(one), tokens_of(next_one)) == BUDGET
    served = [item.call.caller for batch in engine.batches for item in batch]
    assert served.count("hasty") == 25, "those that found the long batch before them were given up"
    assert served.count("patient") > 10 * served.count("hasty")


def test_a_caller_that_waits_alone_may_have_every_batch_cut() -> None:
    engine = BusyEngine()
    calls = [call(n, deadline=NOW + (n // 5 + 1) * (lasting(40) + 1e-6)) for n in range(50)]
    for one in calls:
        engine.batcher.add(items(one, 8))
    engine.finish()
    assert engine.given_up == {}
    assert [tokens_of(batch) for batch in engine.batches] == [40] * 10
    assert all(engine.ends[item] <= item.call.deadline for item in engine.ends)


requests = st.lists(
    st.tuples(
        st.floats(0, 0.3),  # when it comes
        st.sampled_from("abc"),
        st.sampled_from([0.01, 0.02, 0.03, 0.05, 0.1, 0.4, 60.0]),  # how long it has
        st.lists(st.integers(1, 120), min_size=1, max_size=12),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=20,
)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine that runs the tests may be as slow as it likes."""


@UNHURRIED
@given(requests)
def test_nothing_is_computed_in_vain_and_nothing_lost(
    requests: list[tuple[float, str, float, list[int], int]],
) -> None:
    engine = BusyEngine()
    calls = {}
    for number, (comes, caller, time, lengths, priority) in enumerate(sorted(requests)):
        one = call(
            number,
            caller=caller,
            priority=priority,
            inputs=len(lengths),
            deadline=NOW + comes + time,
        )
        calls[one] = items(one, *lengths)
        engine.arrivals.append((NOW + comes, calls[one]))
    engine.finish()
    for one, own in calls.items():
        ran = [item for item in own if item in engine.ends]
        assert all(engine.ends[item] <= one.deadline + 1e-9 for item in ran), "late, as everybody could know"
        assert (one in engine.given_up) != (len(ran) == len(own)), "neither or both"
        if one.deadline - one.arrived > 50:
            assert one not in engine.given_up
    assert len(engine.ends) == sum(map(len, engine.batches)), "twice"
    assert (engine.batcher.waiting, engine.batcher.late()) == (0, [])


@UNHURRIED
@given(requests)
def test_batches_keep_their_bounds(requests: list[tuple[float, str, float, list[int], int]]) -> None:
    engine = BusyEngine()
    for number, (comes, caller, time, lengths, priority) in enumerate(sorted(requests)):
        one = call(number, caller=caller, priority=priority, deadline=NOW + comes + time)
        engine.arrivals.append((NOW + comes, items(one, *lengths)))
    engine.finish()
    for batch in engine.batches:
        assert len(batch) == 1 or tokens_of(batch) <= BUDGET


def test_a_machine_that_got_quicker_is_noticed_although_everybody_is_refused() -> None:
    """The curve says 18 ms for what takes 3, and nobody has more than 10."""
    engine = BusyEngine(Pace(2048, LONGEST, CURVE), slower=1 / 6)
    for number in range(60):
        engine.batcher.add(items(call(number, deadline=engine.clock.now + 0.010), 40))
        engine.step()
        engine.step()
    assert 1 <= len(engine.given_up) < 20
    assert max(call.id for call in engine.given_up) < 20, "from then on all run"


@pytest.mark.parametrize("lengths", [[8], [60], [120], [1, 120, 30]])
@UNHURRIED
@given(st.floats(0, 0.5), st.integers(1, 60))
def test_a_single_input_waits_for_the_running_batch_and_its_own(
    lengths: list[int], comes: float, own: int
) -> None:
    """Beside a caller that sends 64 inputs at a time, and has always ten such calls waiting."""
    engine = BusyEngine()
    for number in range(10):
        engine.batcher.add(items(call(number, caller="bulk"), *(lengths * 64)[:64]))
    (single,) = items(call(99, caller="single"), own)
    engine.arrivals = [(NOW + comes, [single])]
    while single not in engine.ends:
        engine.step()
    place = next(index for index, batch in enumerate(engine.batches) if single in batch)
    batches = engine.batches[: place + 1]
    own_batch = lasting(tokens_of(batches[-1]))
    running = lasting(tokens_of(batches[-2])) if place else 0.0
    assert engine.ends[single] - (NOW + comes) <= running + own_batch + 1e-9
    longest = max(lasting(tokens_of(batch)) for batch in engine.batches)
    assert engine.ends[single] - (NOW + comes) <= lasting(own) + 2 * longest + 1e-9
