"""Labels of tokens become entities, as transformers' TokenClassificationPipeline makes them. Pure numpy, engine process.

Beyond it, label names in BILOU (or BIOES) end an entity after L, U, E and S and begin one before U and S; transformers would read
"U-PER" and "L-PER" as entities of other names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trine.frames import Aggregation

Scores = NDArray[np.float32]

OUTSIDE = "O"
_BEGINS, _ENDS = "BUS", "LUES"
_BIO, _BILOU = "BI", "BILUES"


@dataclass(slots=True, frozen=True)
class Span:
    """Places are those of the offsets that were given."""

    label: str
    score: float
    begin: int
    end: int


class Labels:
    """The labels of a checkpoint, and the scheme of their prefixes."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        kinds = {name[2:] for name in names if name[:2] in ("B-", "I-")}
        bilou = any(name[0] in _ENDS and name[1:2] == "-" and name[2:] in kinds for name in names if name)
        self._prefixes = _BILOU if bilou else _BIO

    def parted(self, name: str) -> tuple[str, str]:
        """Prefix and kind: "B-PER" is "B" and "PER"; what has no prefix goes on as if it had "I"."""
        return (name[0], name[2:]) if name[1:2] == "-" and name[0] in self._prefixes else ("I", name)

    def goes_on(self, before: str, name: str) -> bool:
        """Whether a token labelled `name` belongs to the entity of a neighbor labelled `before`."""
        (last, kind), (prefix, own) = self.parted(before), self.parted(name)
        return kind == own and prefix not in _BEGINS and last not in _ENDS


def entities(
    logits: Scores,
    offsets: Sequence[tuple[int, int]],
    continues: Sequence[bool],
    labels: Labels,
    aggregation: Aggregation,
) -> list[Span]:
    """Of one text's tokens without the special ones: logits [tokens, labels]; `continues` tells which go on a word."""
    if not len(logits):
        return []
    scores = probabilities(logits)
    if aggregation in {"none", "simple"}:
        found = _tokens(scores, offsets, labels)
    else:
        found = _words(scores, offsets, continues, labels, aggregation)
    if aggregation != "none":
        found = _grouped(found, labels)
    return [span for span in found if span.label != OUTSIDE]


def probabilities(logits: Scores) -> Scores:
    """Softmax over the labels in float32, as the pipeline computes it: the same bits of the same logits."""
    weights: Scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _tokens(scores: Scores, offsets: Sequence[tuple[int, int]], labels: Labels) -> list[Span]:
    best = scores.argmax(axis=1)
    return [
        Span(labels.names[label], float(row[label]), begin, end)
        for label, row, (begin, end) in zip(best, scores, offsets, strict=True)
    ]


def _words(
    scores: Scores,
    offsets: Sequence[tuple[int, int]],
    continues: Sequence[bool],
    labels: Labels,
    aggregation: Aggregation,
) -> list[Span]:
    """Each word with one label for all its tokens."""
    starts = [place for place, goes_on in enumerate(continues) if not place or not goes_on]
    found = []
    for start, end in pairwise([*starts, len(continues)]):
        score = _word_scores(scores[start:end], aggregation)
        label = int(score.argmax())
        found.append(Span(labels.names[label], float(score[label]), offsets[start][0], offsets[end - 1][1]))
    return found


def _word_scores(scores: Scores, aggregation: Aggregation) -> Scores:
    """Of one word: [labels] of its tokens' [tokens, labels]."""
    match aggregation:
        case "first":
            return np.asarray(scores[0])
        case "max":
            return np.asarray(scores[scores.max(axis=1).argmax()])
        case _:
            return np.asarray(scores.mean(axis=0))


def _grouped(found: Sequence[Span], labels: Labels) -> list[Span]:
    """Neighbors of one entity as one; its score is their mean, its label without the prefix."""
    groups: list[list[Span]] = []
    for span in found:
        if groups and labels.goes_on(groups[-1][-1].label, span.label):
            groups[-1].append(span)
        else:
            groups.append([span])
    return [
        Span(
            group[0].label.split("-", 1)[-1],
            float(np.mean(np.array([span.score for span in group], np.float32))),
            group[0].begin,
            group[-1].end,
        )
        for group in groups
    ]
