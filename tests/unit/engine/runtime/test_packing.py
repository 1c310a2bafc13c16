"""Index plans on hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.engine.runtime.conftest import Chunk
from trine.engine.runtime.packing import plan_sequences, plan_step
from trine.errors import Bug


def test_whole_sequences() -> None:
    feeds = plan_sequences([[7, 8, 9], [4]], offset=2)
    expected = {
        "input_ids": [[7, 8, 9, 4]],
        "position_ids": [[2, 3, 4, 2]],
        "token_type_ids": [[0, 0, 0, 0]],
        "kv_pos": [0, 1, 2],
        "pad": [0, 1, 2, 3, 3, 3],
        "unpad": [0, 1, 2, 3],
        "lens": [3, 1],
        "total": 3,
        "first": [0, 3],
    }
    assert {name: value.tolist() for name, value in feeds.items()} == expected
    assert {name for name, value in feeds.items() if value.dtype == np.int32} == {"lens", "total"}
    assert all(value.dtype in (np.int64, np.int32) for value in feeds.values())


def test_token_types_are_those_of_the_sequences_that_have_some() -> None:
    feeds = plan_sequences([[7, 8, 9], [4], [5, 6]], 0, [None, [1], [0, 1]])
    assert feeds["token_type_ids"].tolist() == [[0, 0, 0, 1, 0, 1]]


def test_padding_in_a_text_is_not_counted() -> None:
    """As RobertaEmbeddings.create_position_ids_from_input_ids counts with padding id 1."""
    feeds = plan_sequences([[0, 1, 7, 1, 8], [5, 6], [1, 9]], offset=2)
    assert feeds["position_ids"].tolist() == [[2, 1, 3, 1, 4, 2, 3, 1, 2]]
    assert plan_sequences([[0, 1, 7]], offset=0)["position_ids"].tolist() == [[0, 1, 2]]


def test_a_mixed_step_with_an_idle_row() -> None:
    """Row 1 idles; rows come out of order, and the wanted logits keep the chunks' order."""
    chunks = [Chunk(3, [9], 5, "b"), Chunk(0, [4, 5, 6], 2, "a"), Chunk(2, [7, 8], 0)]
    plan = plan_step(chunks, offset=1, min_width=2)
    expected = {
        "input_ids": [[4, 5, 6, 7, 8, 9]],
        "position_ids": [[3, 4, 5, 1, 2, 6]],
        "kv_pos": [0, 1, 2, 3, 4, 5],
        "pad": [0, 1, 2, 3, 3, 3, 3, 4, 3, 5, 5, 5],
        "unpad": [0, 1, 2, 6, 7, 9],
        "lens": [3, 0, 2, 1],
        "seqlens": [4, 0, 1, 5],
        "total": 6,
        "out_rows": [5, 2],
    }
    assert {name: value.tolist() for name, value in plan.feeds.items()} == expected
    assert (plan.rows, plan.wanted) == (4, 2)
    int32 = {name for name, value in plan.feeds.items() if value.dtype == np.int32}
    assert int32 == {"lens", "seqlens", "total"}


def test_decoders_are_padded_to_two_and_encoder_decoders_are_not() -> None:
    decode = [Chunk(0, [4], 0, "a"), Chunk(1, [5], 9, "b")]
    two, one = plan_step(decode, 0, min_width=2).feeds, plan_step(decode, 0, min_width=1).feeds
    assert two["pad"].tolist() == [0, 0, 1, 1]
    assert two["unpad"].tolist() == [0, 2]
    assert one["pad"].tolist() == one["unpad"].tolist() == [0, 1]


def test_padding_of_a_last_idle_run_points_at_a_real_token() -> None:
    feeds = plan_step([Chunk(2, [4, 5], 0, "a")], 0, min_width=2).feeds
    assert feeds["pad"].tolist() == [0, 0, 0, 0, 0, 1]
    assert feeds["unpad"].tolist() == [4, 5]


def test_a_prompt_alone_wants_no_logits() -> None:
    plan = plan_step([Chunk(0, [4, 5], 0)], 0, min_width=2)
    assert plan.wanted == 0
    assert plan.feeds["out_rows"].shape == (0,)


@pytest.mark.parametrize("chunks", [[], [Chunk(0, [], 0, "a")]])
def test_an_empty_step_is_a_bug(chunks: list[Chunk]) -> None:
    with pytest.raises(Bug):
        plan_step(chunks, 0, min_width=2)


@pytest.mark.parametrize("sequences", [[], [[1], []]])
def test_an_empty_sequence_is_a_bug(sequences: list[list[int]]) -> None:
    with pytest.raises(Bug):
        plan_sequences(sequences, 0)
