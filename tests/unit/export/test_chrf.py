"""chrF, against sacrebleu's."""

from __future__ import annotations

import pytest
from sacrebleu.metrics.chrf import CHRF

from trine.export.chrf import chrf

TEXTS = ["The ferry leaves at noon.", "Où est la gare ?", "我昨天在图书馆。", "a", "", "two  words\n"]
OTHERS = ["The ferry left at noon!", "Où était la gare ?", "我今天在图书馆。", "b", "x", "to words"]


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_it_is_sacrebleus(count: int) -> None:
    ours = chrf(TEXTS[:count], OTHERS[:count])
    assert ours == pytest.approx(CHRF().corpus_score(TEXTS[:count], [OTHERS[:count]]).score, abs=1e-9)
    assert 0 < ours < 100


def test_equal_texts_have_all_and_different_ones_nothing() -> None:
    assert chrf(TEXTS, TEXTS) == 100
    assert chrf(["", ""], ["", ""]) == 100
    assert chrf(["abc"], ["xyz"]) == 0
    assert chrf([""], ["xyz"]) == 0
