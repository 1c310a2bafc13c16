"""Classification: each text gets a score for every label. Engine process, its only thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling.call import Call, Item
from trine.engine.tasks.inputs import Tokenizer, tokenize
from trine.errors import Bug, WrongTask


@dataclass(slots=True, eq=False, kw_only=True)
class Text(Item):
    """A text to classify; its output is the raw logits, float32 [labels]."""

    top_k: int
    """How many labels to tell; 0 means all."""


class Classification:
    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._labels = manifest.labels
        self._score = sigmoid if manifest.multi_label else softmax
        self._limit = manifest.limits.max_input_tokens

    def prepare(self, request: frames.Submit, call: Call) -> list[Text]:
        """Raises InvalidInput, naming the field, and WrongTask."""
        if not isinstance(request, frames.Classify):
            raise WrongTask("the checkpoint does classification", field="checkpoint")
        encoded = tokenize(self._tokenizer, request.texts, self._limit)
        return [
            Text(call=call, index=index, tokens=tokens, top_k=request.top_k)
            for index, tokens in enumerate(encoded)
        ]

    def tell(self, text: Text) -> frames.Answer | None:
        """The answer, once this was the last text of its call. Raises Bug for logits that are no numbers."""
        call = text.call
        if not call.settle(text.index, self._classify(text)):
            return None
        return frames.Answer(call.id, classified=call.in_order())

    def _classify(self, text: Text) -> frames.Classified:
        scores = self._score(np.asarray(text.output, np.float64))
        if not np.isfinite(scores).all():
            raise Bug("the checkpoint gave no finite score for this text")
        best = np.argsort(-scores, kind="stable")[: text.top_k or None]
        labels = [(self._labels[index], float(scores[index])) for index in best]
        return frames.Classified(labels, frames.Usage(len(text.tokens), 0))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores that sum to 1, of logits [labels]."""
    weights: NDArray[np.float64] = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores that stand alone, of logits [labels]; written with tanh, which cannot overflow."""
    scores: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return scores
