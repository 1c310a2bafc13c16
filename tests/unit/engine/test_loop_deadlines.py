"""The loop ends calls whose deadline a scheduler cannot keep, and runs nothing of them."""

from __future__ import annotations

import pytest

from tests.unit.engine.loop_front import Front
from trine import frames
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.pace import Pace

NOW = 1000.0


@pytest.fixture
def encoder() -> Front:
    """On which eight tokens take five seconds."""
    front = Front("encoder")
    slow = DynamicBatcher(front.runner, Pace(16, 10.0, [(8, 5.0), (16, 10.0)]), front.clock)
    front.scheduler = front.loop._scheduler = slow
    return front


def test_what_cannot_be_in_time_is_told_so_and_not_computed(encoder: Front) -> None:
    encoder.classify(1, "1 1 1 1 1 1 1 1", deadline=NOW + 4)
    encoder.classify(2, "2 2 2 2 2 2 2 2", deadline=NOW + 6)
    encoder.settle()
    assert encoder.closed[1] == frames.Failed(
        1, "DEADLINE_EXCEEDED", "the deadline comes too soon for what was asked"
    )
    assert isinstance(encoder.closed[2], frames.Answer)
    assert encoder.runner.batches == [[8]]
    encoder.close()


def test_what_is_given_up_while_a_batch_fills_is_told_with_the_next_turn(encoder: Front) -> None:
    for number in (1, 2):
        encoder.classify(number, "1 1 1 1 1 1 1 1", deadline=NOW + 6)
    encoder.turn()
    assert encoder.open == {2}
    encoder.settle()
    assert encoder.closed[2].reason == "DEADLINE_EXCEEDED"
    assert encoder.runner.batches == [[8]]
    encoder.close()
