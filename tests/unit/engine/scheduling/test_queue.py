"""Turns, priorities, and that nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import call
from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.queue import FairQueue


def items(of: Call, count: int) -> list[Item]:
    return [Item(call=of, index=index, tokens=[1]) for index in range(count)]


def drain(queue: FairQueue[Item]) -> list[tuple[str, int]]:
    taken = []
    while (first := queue.first()) is not None:
        assert queue.pop() is first
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


def test_a_turn_survives_between_two_takes() -> None:
    """The caller of the thousand has had its turn when the other arrives."""
    queue = FairQueue[Item]()
    queue.add(items(call(1, caller="thousand"), 3))
    queue.pop()
    queue.add(items(call(2, caller="one"), 1))
    assert drain(queue) == [("thousand", 1), ("one", 0), ("thousand", 2)]


def test_one_caller_is_served_in_order_of_arrival() -> None:
    queue = FairQueue[Item]()
    first, second = call(1), call(2)
    queue.add(items(first, 2))
    queue.add(items(second, 1))
    assert [queue.pop().call.id for _ in range(3)] == [1, 1, 2]


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
    assert queue.pop().call is stays
    queue.discard(gone)
    assert len(queue) == 0


def test_pop_of_an_empty_queue() -> None:
    queue = FairQueue[Item]()
    assert queue.first() is None
    with pytest.raises(IndexError):
        queue.pop()


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
            waiting.remove(queue.pop())
        assert len(queue) == len(waiting)
    assert {id(queue.pop()) for _ in range(len(queue))} == {id(item) for item in waiting}
