"""How much runs in one step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trine.engine.scheduling.policy import PADDING, Room, chunk_size, next_chunk, plan_mixed_step


def taken(lengths: list[int], budget: int) -> int:
    room = Room(budget)
    return next((index for index, length in enumerate(lengths) if not room.take(length)), len(lengths))


@pytest.mark.parametrize(
    ("lengths", "budget", "count"),
    [
        ([4, 4, 4], 12, 3),
        ([4, 4, 5], 12, 2),
        ([100], 12, 1),  # alone it always runs
        ([100, 1], 12, 1),
        ([1, 1, 1, 1], 2, 2),
        ([8, 1, 1, 1], 12, 3),  # a fourth would pad 4 x 8 places, more than twice the budget
        ([1, 1, 1, 8], 12, 3),
    ],
)
def test_room_bounds_tokens_and_padding(lengths: list[int], budget: int, count: int) -> None:
    assert taken(lengths, budget) == count


def test_what_did_not_fit_is_not_counted() -> None:
    room = Room(10)
    assert [room.take(6), room.take(5), room.take(4)] == [True, False, True]


@given(st.lists(st.integers(1, 600), min_size=1), st.integers(16, 2048))
def test_a_batch_is_never_empty_and_never_beyond_its_bounds(lengths: list[int], budget: int) -> None:
    batch = lengths[: taken(lengths, budget)]
    assert batch
    if len(batch) > 1:
        assert sum(batch) <= budget
        assert len(batch) * max(batch) <= PADDING * budget


@pytest.mark.parametrize(
    ("remaining", "size", "chunk"),
    [(1, 8, 1), (8, 8, 8), (9, 8, 7), (10, 8, 8), (17, 8, 8), (4, 3, 2), (2, 3, 2)],
)
def test_next_chunk(remaining: int, size: int, chunk: int) -> None:
    assert next_chunk(remaining, size) == chunk


@given(st.integers(2, 2000), st.integers(3, 256))
def test_a_prompt_is_cut_into_chunks_of_at_least_two(prompt: int, size: int) -> None:
    chunks = list[int]()
    while prompt - sum(chunks):
        chunks.append(next_chunk(prompt - sum(chunks), size))
    assert all(2 <= chunk <= size for chunk in chunks)


def test_chunk_size_keeps_full_rows_within_the_padding() -> None:
    assert chunk_size(256, 64, 2048) == 64
    assert chunk_size(256, 4, 2048) == 256
    assert chunk_size(256, 64, 16) == 16
    assert chunk_size(8, 64, 16) == 8
    with pytest.raises(ValueError, match="at least 3"):
        chunk_size(2, 64, 2048)


@pytest.mark.parametrize(
    ("remaining", "budget", "plan"),
    [
        ([1, 1, 1], 2, [1, 1, 1]),  # decodes always run
        ([1, 20, 5], 14, [1, 8, 5]),
        ([1, 20, 5], 13, [1, 8, 0]),
        (
            [20, 20, 3],
            12,
            [8, 0, 3],
        ),  # the second prompt's whole chunk waits, a shorter one passes it for this step
        ([20, 1, 1], 2, [8, 1, 1]),  # the oldest prompt goes on even so
        ([9], 100, [7]),
        ([], 100, []),
    ],
)
def test_mixed_step(remaining: list[int], budget: int, plan: list[int]) -> None:
    assert plan_mixed_step(remaining, budget, 8) == plan


@given(st.lists(st.integers(1, 100), max_size=64), st.integers(16, 512), st.integers(3, 64))
def test_mixed_step_keeps_its_promises(remaining: list[int], budget: int, size: int) -> None:
    plan = plan_mixed_step(remaining, budget, size)
    prompts = [chunk for chunk, left in zip(plan, remaining, strict=True) if left > 1]
    assert all(chunk == 1 for chunk, left in zip(plan, remaining, strict=True) if left == 1)
    assert all(
        chunk in (0, next_chunk(left, size)) for chunk, left in zip(plan, remaining, strict=True) if left > 1
    )
    assert not prompts or prompts[0] > 0
    assert sum(prompts[1:]) + prompts[0] <= max(budget - plan.count(1), prompts[0]) if prompts else True


@pytest.mark.parametrize("budget", [2, 0, -13])
def test_the_lanes_of_searches_may_take_more_than_the_whole_budget(budget: int) -> None:
    """As DecoderBatcher says it, which takes off all lanes of a search but one."""
    assert plan_mixed_step([1, 20, 1, 20], budget, 8) == [1, 8, 1, 0]
    assert plan_mixed_step([1, 1], budget, 8) == [1, 1]
