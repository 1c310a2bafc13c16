"""Batches of the encoder family."""

from __future__ import annotations

from tests.unit.engine.scheduling.stand_ins import AlphabetEncoder, Clock, call
from trine.engine.scheduling.call import Call, Item
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.pace import Pace


def items(of: Call, *lengths: int) -> list[Item]:
    return [Item(call=of, index=index, tokens=[1] * length) for index, length in enumerate(lengths)]


def batcher_of(encoder: AlphabetEncoder, budget: int) -> DynamicBatcher:
    return DynamicBatcher(encoder, Pace(budget), Clock())


def run_one(batcher: DynamicBatcher) -> list[Item]:
    batch = batcher.choose()
    return batcher.settle(batch, batcher.run(batch)) if batch else []


def test_runs_all_that_waits_up_to_the_budget() -> None:
    encoder = AlphabetEncoder()
    batcher = batcher_of(encoder, 10)
    batcher.add(items(call(), 4, 4, 4, 30, 1))
    assert batcher.waiting == 5
    while run_one(batcher):
        pass
    assert encoder.batches == [[1, 4, 4], [4], [30]], "of a call those of equal length side by side"
    assert batcher.waiting == 0
    assert run_one(batcher) == []


def test_each_item_gets_its_own_output() -> None:
    batcher = batcher_of(AlphabetEncoder(), 100)
    batcher.add(items(call(1), 3, 5))
    batcher.add(items(call(2), 7))
    assert [(item.call.id, item.index, item.output.tolist()) for item in run_one(batcher)] == [
        (1, 0, [3.0, 3.0]),
        (1, 1, [5.0, 5.0]),
        (2, 0, [7.0, 7.0]),
    ]


def test_one_input_is_not_starved_by_a_thousand() -> None:
    batcher = batcher_of(AlphabetEncoder(), 10)
    batcher.add(items(call(1, caller="thousand"), *[5] * 1000))
    single = items(call(2, caller="one"), 5)
    batcher.add(single)
    assert single[0] in run_one(batcher)


def test_discarded_items_never_run() -> None:
    encoder = AlphabetEncoder()
    batcher = batcher_of(encoder, 100)
    gone = call(1)
    batcher.add(items(gone, 3, 3))
    batcher.add(items(call(2), 5))
    assert batcher.discard(gone) == 0
    run_one(batcher)
    assert encoder.batches == [[5]]
