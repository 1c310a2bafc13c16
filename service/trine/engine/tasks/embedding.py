"""Embedding: each text becomes one vector. Engine process, its only thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine import frames
from trine.artifact import Manifest
from trine.engine.runtime.pooling import normalized, pool
from trine.engine.scheduling.call import Call
from trine.engine.tasks.reading import Document, FullTokenizer, ReadingTask
from trine.errors import Bug, InvalidInput, WrongTask


class Embedding(ReadingTask[frames.Embed]):
    """A text's output is its tokens' hidden states, float32 [tokens, embedding_size]."""

    def __init__(self, manifest: Manifest, tokenizer: FullTokenizer) -> None:
        super().__init__(manifest, tokenizer)
        if manifest.pooling is None:
            raise Bug("an embedding checkpoint without a way of pooling")
        self._pooling = manifest.pooling
        self._normalize = manifest.normalize
        self._size = manifest.embedding_size

    def _read(self, request: frames.Submit) -> list[Document[frames.Embed]]:
        if not isinstance(request, frames.Embed):
            raise WrongTask("the checkpoint makes embeddings", field="checkpoint")
        if request.dimensions > self._size:
            raise InvalidInput(
                f"dimensions is {request.dimensions}, and an embedding has {self._size}", field="dimensions"
            )
        return self._in_ids(request, request.windows)

    def _kept(self, output: NDArray[np.float32]) -> NDArray[Any]:
        """The pooled vector instead of all hidden states: these would be gigabytes of a long document."""
        return pool(output, self._pooling)

    def _result(self, document: Document[frames.Embed]) -> frames.Embedded:
        request = document.request
        vector = document.mean(document.in_order())[: request.dimensions or None]
        if self._normalize if request.normalize is None else request.normalize:
            vector = normalized(vector)
        return frames.Embedded(vector.astype("<f4").tobytes(), document.usage)

    def _answer(self, call: Call) -> frames.Answer:
        return frames.Answer(call.id, embedded=call.in_order())
