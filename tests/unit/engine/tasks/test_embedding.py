"""Hidden states to vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.unit.engine.scheduling.stand_ins import NumberTokenizer, call
from tests.unit.engine.tasks.manifests import embedder
from trine import frames
from trine.artifact import Pooling
from trine.engine.tasks.embedding import Embedding
from trine.errors import Bug, InvalidInput, WrongTask

HIDDEN = np.array([[3.0, 0.0, 1.0], [0.0, 4.0, 3.0]], np.float32)


def embed(manifest: Any, hidden: list[Any], *texts: str, **options: Any) -> list[frames.Embedded]:
    task = Embedding(manifest, NumberTokenizer())
    request = frames.Embed(7, list(texts), math.inf, 2, "one", **options)
    items = task.prepare(request, call(7, inputs=len(texts)))
    for item, output in zip(items, hidden, strict=True):
        item.output = np.asarray(output, np.float32)
    *before, last = [task.tell(item) for item in items]
    assert before == [None] * len(before)
    assert last is not None
    return last.embedded


def values(result: frames.Embedded) -> list[float]:
    return np.frombuffer(result.values, "<f4").tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Pooling.MEAN, [1.5, 2.0, 2.0]),
        (Pooling.CLS, [3.0, 0.0, 1.0]),
        (Pooling.MAX, [3.0, 4.0, 3.0]),
        (Pooling.LAST, [0.0, 4.0, 3.0]),
    ],
)
def test_pooling(pooling: Pooling, expected: list[float]) -> None:
    (result,) = embed(embedder(3, pooling), [HIDDEN], "1 2")
    assert values(result) == expected
    assert result.usage == frames.Usage(2, 0, windows=1)


@pytest.mark.parametrize(
    ("checkpoint", "asked", "normalizes"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_the_request_overrides_the_checkpoint(checkpoint: bool, asked: bool | None, normalizes: bool) -> None:
    manifest = embedder(3, Pooling.LAST, normalize=checkpoint)
    (result,) = embed(manifest, [HIDDEN], "1 2", normalize=asked)
    assert values(result) == pytest.approx([0.0, 0.8, 0.6] if normalizes else [0.0, 4.0, 3.0])


def test_a_cut_vector_is_normalized_after_the_cut() -> None:
    (result,) = embed(embedder(3, Pooling.LAST, normalize=True), [HIDDEN], "1 2", dimensions=2)
    assert values(result) == [0.0, 1.0]


def test_more_dimensions_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="is 4, and an embedding has 3") as caught:
        embed(embedder(3), [], "1", dimensions=4)
    assert caught.value.field == "dimensions"


def test_a_vector_of_zeros_stays_one() -> None:
    (result,) = embed(embedder(2, normalize=True), [[[0.0, 0.0]]], "1")
    assert values(result) == [0.0, 0.0]


def test_windows_weigh_by_their_tokens_and_are_normalized_last() -> None:
    hidden = [np.tile([3.0, 0.0], (16, 1)), np.tile([0.0, 1.0], (11, 1))]
    text, manifest = " ".join("1" * 20), embedder(2)
    (result,) = embed(manifest, hidden, text, windows=frames.Windows(5))
    expected = np.array([3.0 * 16 / 27, 11 / 27])
    assert values(result) == pytest.approx(expected)
    assert result.usage == frames.Usage(27, 0, windows=2)
    (result,) = embed(manifest, hidden, text, windows=frames.Windows(5), normalize=True)
    assert values(result) == pytest.approx(expected / np.linalg.norm(expected))


def test_a_long_text_is_refused_unless_windows_are_asked_for() -> None:
    with pytest.raises(InvalidInput, match=r"20 tokens.* 16") as caught:
        embed(embedder(2), [], "1", " ".join("1" * 20))
    assert caught.value.field == "inputs[1].text"


def test_answers_keep_the_order_of_the_inputs() -> None:
    found = embed(embedder(1), [[[1.0]], [[2.0]]], "1", "2")
    assert [values(one) for one in found] == [[1.0], [2.0]]


def test_states_that_are_no_numbers_are_no_answer() -> None:
    with pytest.raises(Bug, match="no finite"):
        embed(embedder(1), [[[math.inf]]], "1")


def test_another_tasks_request() -> None:
    request = frames.Classify(7, ["1"], math.inf, 2, "one", 0)
    with pytest.raises(WrongTask):
        Embedding(embedder(1), NumberTokenizer()).prepare(request, call(7))
