"""Texts to labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.unit.engine.scheduling.stand_ins import NumberTokenizer, call
from tests.unit.engine.tasks.manifests import classifier
from trine import frames
from trine.engine.tasks.classification import Classification, sigmoid, softmax
from trine.engine.tasks.reading import Text
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Decoding


def classification(**changes: Any) -> Classification:
    return Classification(classifier(**changes), NumberTokenizer())


def prepare(task: Classification, *texts: str, top_k: int = 0) -> list[Text[frames.Classify]]:
    request = frames.Classify(7, list(texts), math.inf, 2, "one", top_k)
    return task.prepare(request, call(7, inputs=len(texts)))


def answer(task: Classification, *outputs: list[float], top_k: int = 0) -> frames.Answer:
    texts = prepare(task, *["1 2"] * len(outputs), top_k=top_k)
    for text, output in zip(texts, outputs, strict=True):
        text.output = np.asarray(output, np.float32)
    told = [task.tell(text) for text in reversed(texts)]
    assert told[:-1] == [None] * (len(outputs) - 1)
    assert told[-1] is not None
    return told[-1]


def test_softmax_best_first() -> None:
    (result,) = answer(classification(), [0.0, math.log(3)]).classified
    assert dict(result.labels) == pytest.approx({"length": 0.75, "sum": 0.25})
    assert [name for name, _ in result.labels] == ["length", "sum"]
    assert result.usage == frames.Usage(2, 0, windows=1)


def test_sigmoid_for_multi_label() -> None:
    (result,) = answer(classification(multi_label=True), [0.0, math.log(3)]).classified
    assert dict(result.labels) == pytest.approx({"length": 0.75, "sum": 0.5})


@pytest.mark.parametrize(("top_k", "labels"), [(0, 2), (1, 1), (2, 2), (9, 2)])
def test_top_k(top_k: int, labels: int) -> None:
    (result,) = answer(classification(), [2.0, 1.0], top_k=top_k).classified
    assert [name for name, _ in result.labels] == ["sum", "length"][:labels]


def test_answers_keep_the_order_of_the_inputs() -> None:
    told = answer(classification(), [9.0, 0.0], [0.0, 9.0], [9.0, 0.0])
    assert [result.labels[0][0] for result in told.classified] == ["sum", "length", "sum"]
    assert (told.id, told.generated) == (7, [])


def test_extreme_logits_stay_numbers() -> None:
    assert softmax(np.array([1e5, -1e5])).tolist() == [1.0, 0.0]
    assert sigmoid(np.array([1e5, -1e5])).tolist() == [1.0, 0.0]


def test_logits_that_are_no_numbers_are_no_answer() -> None:
    with pytest.raises(Bug, match="no finite score"):
        answer(classification(), [math.nan, 0.0])


def test_too_long_names_the_input_and_both_numbers() -> None:
    with pytest.raises(InvalidInput, match=r"17 tokens.* 16") as caught:
        prepare(classification(), "1", "2", "3", " ".join("1" * 17))
    assert caught.value.field == "inputs[3].text"
    assert len(prepare(classification(), " ".join("1" * 16))) == 1


@pytest.mark.parametrize(("texts", "field"), [(["1", " "], "inputs[1].text"), ([], "inputs")])
def test_nothing_to_read(texts: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare(classification(), *texts)
    assert caught.value.field == field


def test_another_tasks_request() -> None:
    request = frames.Generate(7, ["1"], math.inf, 2, "one", Decoding(), stream=False)
    with pytest.raises(WrongTask):
        classification().prepare(request, call(7))


def read(task: Classification, *texts: str, **options: Any) -> list[Text[frames.Classify]]:
    request = frames.Classify(7, list(texts), math.inf, 2, "one", 0, **options)
    return task.prepare(request, call(7, inputs=len(texts)))


def told(
    task: Classification, texts: list[Text[frames.Classify]], outputs: list[list[float]]
) -> list[frames.Classified]:
    for text, output in zip(texts, outputs, strict=True):
        text.output = np.asarray(output, np.float32)
    *before, last = [task.tell(text) for text in texts]
    assert before == [None] * len(before)
    assert last is not None
    return last.classified


def test_raw_scores_are_the_logits() -> None:
    task = classification()
    (result,) = told(task, read(task, "1", raw_scores=True), [[-1.5, 2.5]])
    assert result.labels == [("length", 2.5), ("sum", -1.5)]


def test_a_pair_is_read_with_its_types() -> None:
    task = classification(pairs=True)
    pair, single = read(task, "1 2", "3", pairs=["4", None])
    assert (pair.tokens, pair.types) == ([1, 2, 25, 4, 25], [0, 0, 0, 1, 1])
    assert (single.tokens, single.types) == ([3, 25], None)


def test_a_checkpoint_that_reads_no_pairs() -> None:
    with pytest.raises(InvalidInput, match="no pairs") as caught:
        read(classification(), "1", "2", pairs=[None, "3"])
    assert caught.value.field == "inputs[1].text_pair"


def test_windows_weigh_by_their_tokens() -> None:
    task = classification()
    texts = read(task, "9", " ".join("1" * 20), windows=frames.Windows(5))
    assert [len(text.tokens) for text in texts] == [1, 16, 11]
    even = math.log(3)
    short, long = told(task, texts, [[even, 0.0], [even, 0.0], [0.0, even]])
    assert dict(short.labels) == pytest.approx({"sum": 0.75, "length": 0.25})
    assert short.usage == frames.Usage(1, 0, windows=1)
    share = (16 * 0.75 + 11 * 0.25) / 27
    assert dict(long.labels) == pytest.approx({"sum": share, "length": 1 - share})
    assert long.usage == frames.Usage(27, 0, windows=2)


def test_raw_windows_are_the_mean_of_their_logits() -> None:
    task = classification()
    texts = read(task, " ".join("1" * 20), windows=frames.Windows(5), raw_scores=True)
    (result,) = told(task, texts, [[1.0, 0.0], [-1.0, 0.0]])
    assert dict(result.labels) == pytest.approx({"sum": 5 / 27, "length": 0.0})


def test_the_longer_text_of_a_pair_slides() -> None:
    task = classification(pairs=True)
    texts = read(task, "7 8", pairs=[" ".join(map(str, range(20)))], windows=frames.Windows(0))
    # 16 tokens, less "7 8", and the two special ones
    assert [text.tokens[3:-1] for text in texts] == [list(range(12)), list(range(12, 20))]
    for text in texts:
        assert text.tokens[:3] == [7, 8, 25]
        assert text.types == [0] * 3 + [1] * (len(text.tokens) - 3)
        assert text.tokens[-1] == 25
