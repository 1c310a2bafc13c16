"""Turns, priorities, and that nothing is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import call
from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.queue import PATIENCE, FairQueue


def items(of: Call, count: int) -> list[Item]:
    return [Item(call=of, index=index, tokens=[1]) for index in range(count)]


def pop(queue: FairQueue[Item]) -> Item:
    item = queue.first()
    assert item is not None
    return queue.take(item)


def drain(queue: FairQueue[Item]) -> list[tuple[str, int]]:
    taken = []
    while (first := queue.first()) is not None:
        assert queue.take(first) is first
        taken.append((first.call.caller, first.index))
    assert len(queue) == 0
    return taken


def test_callers_take_turns() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="thousand"), 4))
    queue.add(items(call(2, caller="one"), 1))
    queue.add(items(call(3, caller="two"), 2))
    assert drain(queue) == [
        ("thousand", 0),
        ("one", 0),
        ("two", 0),
        ("thousand", 1),
        ("two", 1),
        ("thousand", 2),
        ("thousand", 3),
    ]


def test_who_has_just_come_goes_before_those_who_had_their_turn() -> None:
    """Also when it comes again: it has its next turn in the next round, for which the others wait as well."""
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="thousand"), 5))
    pop(queue)
    queue.add(items(call(2, caller="one"), 1))
    assert pop(queue).call.id == 2
    queue.add(items(call(3, caller="one"), 1))
    assert drain(queue) == [("thousand", 1), ("one", 0), ("thousand", 2), ("thousand", 3), ("thousand", 4)]


def test_ever_new_callers_let_a_round_end() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(0, caller="thousand"), 9))
    pop(queue)
    taken = []
    for number in range(3 * PATIENCE):
        queue.add(items(call(number, caller=f"new {number}"), 1))
        queue.add(items(call(number, caller=f"newer {number}"), 1))
        taken.append(pop(queue).call.caller)
    assert PATIENCE // 2 <= taken.index("thousand") <= PATIENCE


def test_one_caller_is_served_in_order_of_arrival() -> None:
    queue = FairQueue[Item]()
    first, second = call(1), call(2)
    queue.add(items(first, 2))
    queue.add(items(second, 1))
    assert [pop(queue).call.id for _ in range(3)] == [1, 1, 2]


def test_the_earliest_deadline_of_a_caller_goes_first() -> None:
    queue = FairQueue[Item]()
    patient, first, second, urgent = (call(number) for number in range(4))
    patient.deadline, first.deadline, second.deadline, urgent.deadline = 9.0, 5.0, 5.0, 1.0
    for one in (patient, first, second, urgent):
        queue.add(items(one, 2))
    other = call(9, caller="other")
    other.deadline = 0.5
    queue.add(items(other, 1))
    taken = [pop(queue).call.id for _ in range(len(queue))]
    assert taken == [9, 3, 3, 1, 1, 2, 2, 0, 0], (
        "in a round the earliest deadline, but one turn for each caller"
    )


def test_an_earlier_deadline_moves_a_caller_up_and_its_leaving_down() -> None:
    queue = FairQueue[Item]()
    for number, caller, deadline in [(1, "one", 5.0), (2, "two", 4.0), (3, "one", 3.0)]:
        queue.add(items(call(number, caller=caller, deadline=deadline), 1))
    first = queue.first()
    assert first is not None
    assert first.call.id == 3
    queue.discard(first.call)
    assert [pop(queue).call.id for _ in range(2)] == [2, 1]


def test_higher_priority_goes_first() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="low", priority=1), 1))
    queue.add(items(call(2, caller="high", priority=3), 2))
    queue.add(items(call(3, caller="normal", priority=2), 1))
    assert drain(queue) == [("high", 0), ("high", 1), ("normal", 0), ("low", 0)]


def test_discard_takes_out_one_call_only() -> None:
    queue = FairQueue[Item]()
    gone, stays = call(1), call(2)
    queue.add(items(gone, 3))
    queue.add(items(stays, 1))
    queue.discard(gone)
    queue.discard(call(9, caller="nobody"))
    assert len(queue) == 1
    assert pop(queue).call is stays
    queue.discard(gone)
    assert len(queue) == 0


def test_an_empty_queue_has_no_first() -> None:
    assert FairQueue[Item]().first() is None


def small(item: Item) -> bool:
    return item.call.caller != "wide"


def test_what_does_not_fit_lets_others_by() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="wide"), 1))
    queue.add(items(call(2, caller="low", priority=1), 1))
    queue.add(items(call(3, caller="one"), 2))
    taken = []
    while (item := queue.first(small)) is not None:
        taken.append(queue.take(item).call.caller)
    assert taken == ["one", "one", "low"]
    assert drain(queue) == [("wide", 0)]


def test_it_waits_for_a_number_of_others_only() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="wide"), 1))
    queue.add(items(call(2, caller="many"), 2 * PATIENCE))
    passed = 0
    while (item := queue.first(small)) is not None:
        queue.take(item)
        passed += 1
    assert passed == PATIENCE
    first = queue.first()
    assert first is not None
    assert first.call.caller == "wide"


def test_a_callers_own_items_do_not_overtake_one_another() -> None:
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="one"), 2))
    assert queue.first(lambda item: item.index == 1) is None


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 7), st.integers(1, 3)),
            st.tuples(st.just("discard"), st.integers(0, 7), st.just(0)),
            st.tuples(st.just("pop"), st.just(0), st.just(0)),
        )
    )
)
def test_nothing_is_lost_or_doubled(actions: list[tuple[str, int, int]]) -> None:
    calls = [call(n, caller=f"caller {n % 3}", priority=1 + n % 2) for n in range(8)]
    queue, waiting = FairQueue[Item](), list[Item]()
    for verb, number, count in actions:
        if verb == "add":
            added = items(calls[number], count)
            queue.add(added)
            waiting += added
        elif verb == "discard":
            queue.discard(calls[number])
            waiting = [item for item in waiting if item.call is not calls[number]]
        elif waiting:
            waiting.remove(pop(queue))
        assert len(queue) == len(waiting)
        assert queue.callers == len({(item.call.priority, item.call.caller) for item in waiting})
    assert {id(pop(queue)) for _ in range(len(queue))} == {id(item) for item in waiting}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("0123"), st.floats(0, 100), st.integers(1, 4)), min_size=1, max_size=40
    )
)
def test_whatever_the_deadlines_turns_are_equal(calls: list[tuple[str, float, int]]) -> None:
    """Of two callers of whom something waits all the time, none is ever two turns ahead of the other."""
    queue, turns = FairQueue[Item](), dict.fromkeys("0123", 0)
    for name in turns:
        queue.add(items(call(0, caller=name, deadline=50.0), 100))
    for number, (name, deadline, count) in enumerate(calls):
        queue.add(items(call(number, caller=name, deadline=deadline), count))
        turns[pop(queue).call.caller] += 1
        assert max(turns.values()) - min(turns.values()) <= 1
