"""Classification: each text, or pair of texts, gets a score for every label. Engine process, its only thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling.call import Call
from trine.engine.tasks.reading import Document, FullTokenizer, ReadingTask
from trine.errors import InvalidInput, WrongTask


class Classification(ReadingTask[frames.Classify]):
    """A text's output is the raw logits, float32 [labels]."""

    def __init__(self, manifest: Manifest, tokenizer: FullTokenizer) -> None:
        super().__init__(manifest, tokenizer)
        self._labels = manifest.labels
        self._probabilities = sigmoid if manifest.multi_label else softmax
        self._pairs = manifest.pairs

    def _read(self, request: frames.Submit) -> list[Document[frames.Classify]]:
        if not isinstance(request, frames.Classify):
            raise WrongTask("the checkpoint does classification", field="checkpoint")
        if not any(pair is not None for pair in request.pairs):
            return self._in_ids(request, request.windows)
        if not self._pairs:
            index = next(index for index, pair in enumerate(request.pairs) if pair is not None)
            raise InvalidInput("the checkpoint reads no pairs of texts", field=f"inputs[{index}].text_pair")
        return self._in_full(request, request.windows, request.pairs)

    def _result(self, document: Document[frames.Classify]) -> frames.Classified:
        request = document.request
        rows = [output.astype(np.float64) for output in document.in_order()]
        if not request.raw_scores:
            rows = [self._probabilities(logits) for logits in rows]
        scores = document.mean(rows)
        best = np.argsort(-scores, kind="stable")[: request.top_k or None]
        labels = [(self._labels[index], float(scores[index])) for index in best]
        return frames.Classified(labels, document.usage)

    def _answer(self, call: Call) -> frames.Answer:
        return frames.Answer(call.id, classified=call.in_order())


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores that sum to 1, of logits [labels]."""
    weights: NDArray[np.float64] = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores that stand alone, of logits [labels]; written with tanh, which cannot overflow."""
    scores: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return scores
