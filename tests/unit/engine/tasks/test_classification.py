"""Texts to labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.unit.engine.scheduling.stand_ins import NumberTokenizer, call
from tests.unit.engine.tasks.manifests import classifier
from trine import frames
from trine.engine.tasks.classification import Classification, Text, sigmoid, softmax
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Decoding


def classification(**changes: Any) -> Classification:
    return Classification(classifier(**changes), NumberTokenizer())


def prepare(task: Classification, *texts: str, top_k: int = 0) -> list[Text]:
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
    assert result.usage == frames.Usage(2, 0)


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
