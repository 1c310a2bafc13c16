"""Random schedules of submits, cancels, deadlines and steps: whatever happens, each call gets its own answer, once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.loop_front import Front, generate, letters
from tests.unit.engine.scheduling.stand_ins import alone
from trine import frames

PROMPTS = st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=16), min_size=1, max_size=4)


@dataclass
class Submit:
    prompts: list[list[int]]
    limit: int
    stream: bool
    patience: int
    priority: int
    caller: str


@dataclass
class Cancel:
    which: int


@dataclass
class Turns:
    count: int
    seconds: int


SUBMITS = st.builds(
    Submit,
    PROMPTS,
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([0, 2, 5, 1000, 1000, 1000]),
    st.integers(1, 3),
    st.sampled_from(["one", "two", "three"]),
)
ACTIONS = st.lists(
    st.one_of(
        SUBMITS,
        SUBMITS,
        st.builds(Cancel, st.integers(0, 30)),
        st.builds(Turns, st.integers(1, 3), st.integers(0, 2)),
    ),
    max_size=40,
)


def play(front: Front, actions: list[Submit | Cancel | Turns]) -> dict[int, Submit]:
    submitted: dict[int, Submit] = {}
    for action in actions:
        match action:
            case Submit():
                number = len(submitted) + 1
                submitted[number] = action
                texts = [" ".join(map(str, prompt)) for prompt in action.prompts]
                front.send(
                    generate(
                        number,
                        *texts,
                        limit=action.limit,
                        stream=action.stream,
                        deadline=front.clock.now + action.patience,
                        priority=action.priority,
                        caller=action.caller,
                    )
                )
            case Cancel(which):
                front.send(frames.Cancel(which))
            case Turns(count, seconds):
                for _ in range(count):
                    front.clock.now += seconds
                    if front.open:
                        front.turn()
                        assert_compact(front)
    front.settle()
    return submitted


def assert_compact(front: Front) -> None:
    rows = list(front.scheduler._rows)  # type: ignore[attr-defined]
    assert sorted(row for sequence in rows for row in sequence.rows) == list(range(len(rows)))
    assert all(sequence.call.id in front.open for sequence in rows), "a row of a call that is closed"


@pytest.mark.parametrize("family", ["decoder", "encoder-decoder"])
@given(actions=ACTIONS)
@settings(max_examples=120, deadline=None)
def test_each_call_is_closed_once_with_its_own_answer(
    family: str, actions: list[Submit | Cancel | Turns]
) -> None:
    front = Front(family, slots=3)
    start = [1] if family == "encoder-decoder" else []
    try:
        submitted = play(front, actions)
        assert front.closed.keys() == submitted.keys()
        for number, submit in submitted.items():
            expected = [alone([*prompt, *start], submit.limit) for prompt in submit.prompts]
            texts = [letters(tokens) for tokens, _ in expected]
            if isinstance(front.closed[number], frames.Answer | frames.Delta):
                assert front.texts(number) == texts
            for index, text in enumerate(texts):
                assert text.startswith(front.text.get((number, index), ""))
            if isinstance(front.closed[number], frames.Failed):
                assert front.closed[number].reason == "DEADLINE_EXCEEDED"
                assert submit.patience < 1000
        assert (front.scheduler.waiting, front.scheduler.running, front.scheduler.cache_used) == (0, 0, 0.0)
        if front.observed:
            last = front.observed[-1]
            assert (last.waiting, last.running, last.cache_used) == (0, 0, 0.0)
    finally:
        front.close()
