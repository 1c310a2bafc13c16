"""chrF: how alike two sets of texts are, by their character n-grams (Popović 2015, chrF: character n-gram F-score). Export process.

Order 6, beta 2, white space left out, counts added up over all texts: sacrebleu's CHRF() with its defaults, to which a test
compares it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_ORDER = 6
_RECALL_WEIGHT = 4
"""Beta squared."""


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """0 to 100; 100 for equal texts, be they empty."""
    if list(hypotheses) == list(references):
        return 100.0
    pairs = [(_letters(a), _letters(b)) for a, b in zip(hypotheses, references, strict=True)]
    precisions, recalls = [], []
    for order in range(1, _ORDER + 1):
        matched, written, expected = _count(pairs, order)
        if written and expected:
            precisions.append(matched / written)
            recalls.append(matched / expected)
    precision, recall = sum(precisions), sum(recalls)
    if not precision + recall:
        return 0.0
    mean = (1 + _RECALL_WEIGHT) * precision * recall / (_RECALL_WEIGHT * precision + recall)
    return 100 * mean / len(precisions)


def _letters(text: str) -> str:
    return "".join(text.split())


def _count(pairs: Sequence[tuple[str, str]], order: int) -> tuple[int, int, int]:
    """N-grams in common, of the hypotheses, and of the references."""
    matched = written = expected = 0
    for hypothesis, reference in pairs:
        ours, theirs = _grams(hypothesis, order), _grams(reference, order)
        matched += (ours & theirs).total()
        written += ours.total()
        expected += theirs.total()
    return matched, written, expected


def _grams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
