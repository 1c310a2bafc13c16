"""Tokens to entities, on paper. That they equal transformers' is shown in test_token_classification."""

from __future__ import annotations

import numpy as np
import pytest

from trine.engine.tasks.entities import Labels, Scores, Span, entities
from trine.frames import Aggregation

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
BILOU = ("O", "B-PER", "I-PER", "L-PER", "U-PER", "U-LOC")


def sure(names: tuple[str, ...], *labels: str) -> Scores:
    """Logits that leave no doubt of each token's label."""
    logits = np.full((len(labels), len(names)), -50.0, np.float32)
    for row, label in zip(logits, labels, strict=True):
        row[names.index(label)] = 50.0
    return logits


def found(
    names: tuple[str, ...], *labels: str, aggregation: Aggregation = "simple"
) -> list[tuple[str, int, int]]:
    offsets = [(2 * place, 2 * place + 1) for place in range(len(labels))]
    spans = entities(sure(names, *labels), offsets, [False] * len(labels), Labels(names), aggregation)
    assert all(span.score == 1.0 for span in spans)
    return [(span.label, span.begin, span.end) for span in spans]


def test_no_token_no_entity() -> None:
    assert entities(np.zeros((0, 2), np.float32), [], [], Labels(("O", "B-PER")), "average") == []


def test_bio() -> None:
    labels = ("B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-LOC", "I-PER")
    assert found(BIO, *labels) == [("PER", 0, 3), ("LOC", 6, 7), ("LOC", 8, 11), ("PER", 12, 13)]
    assert found(BIO, *labels[:3], aggregation="none") == [("B-PER", 0, 1), ("I-PER", 2, 3)]


def test_bilou() -> None:
    labels = ("B-PER", "I-PER", "L-PER", "L-PER", "U-PER", "U-PER", "I-PER", "U-LOC")
    assert found(BILOU, *labels) == [
        ("PER", 0, 5),
        ("PER", 6, 7),
        ("PER", 8, 9),
        ("PER", 10, 11),
        ("PER", 12, 13),
        ("LOC", 14, 15),
    ]


def test_bioes_names_the_same_things() -> None:
    names = ("O", "B-A", "I-A", "E-A", "S-A")
    assert found(names, "B-A", "E-A", "S-A", "S-A") == [("A", 0, 3), ("A", 4, 5), ("A", 6, 7)]


def test_names_that_only_look_like_prefixes() -> None:
    """Without B- and I- no label begins or ends anything."""
    assert found(("U-A", "X"), "U-A", "U-A", "X") == [("A", 0, 3), ("X", 4, 5)]


def test_one_kind_that_looks_like_an_end_makes_no_bilou() -> None:
    names = ("O", "B-PER", "I-PER", "E-MAIL")
    assert Labels(names).parted("E-MAIL") == ("I", "E-MAIL")
    assert Labels((*names, "E-PER")).parted("E-PER") == ("E", "PER")


def test_parts_of_speech_have_no_prefix() -> None:
    assert found(("NOUN", "VERB"), "NOUN", "NOUN", "VERB") == [("NOUN", 0, 3), ("VERB", 4, 5)]


@pytest.mark.parametrize(
    ("aggregation", "label", "score"),
    [("first", "A", 0.6), ("max", "B", 0.9), ("average", "C", (0.35 + 0.05 + 0.8) / 3)],
)
def test_a_word_has_one_label(aggregation: Aggregation, label: str, score: float) -> None:
    names = ("O", "B-A", "B-B", "B-C")
    scores = [[0.02, 0.6, 0.03, 0.35], [0.02, 0.03, 0.9, 0.05], [0.1, 0.05, 0.05, 0.8]]
    logits = np.log(np.array(scores, np.float32))
    offsets = [(0, 2), (2, 3), (3, 7)]
    (span,) = entities(logits, offsets, [False, True, True], Labels(names), aggregation)
    assert (span.label, span.begin, span.end) == (label, 0, 7)
    assert span.score == pytest.approx(score, rel=1e-5)


def test_a_text_may_begin_within_a_word() -> None:
    spans = entities(sure(BIO, "B-PER", "O"), [(0, 1), (1, 2)], [True, False], Labels(BIO), "first")
    assert spans == [Span("PER", 1.0, 0, 1)]
