"""What the tasks of the encoder family share: inputs read whole or in windows, one answer when all of it is read. Engine process,
its only thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling.call import Call, Item
from trine.engine.tasks import windows
from trine.engine.tasks.inputs import Tokenizer, text_field, tokenize
from trine.engine.tasks.windows import MAX_REQUEST_WINDOWS, Window
from trine.engine.text.tokenizer import Encoding
from trine.errors import Bug, InvalidInput

R = TypeVar("R", bound=frames.Submit)


class FullTokenizer(Tokenizer, Protocol):
    def encode_fully(self, texts: Sequence[str], pairs: Sequence[str | None] = (), /) -> list[Encoding]: ...


@dataclass(slots=True, eq=False)
class Document(Generic[R]):
    """One input of a request, and what its windows gave so far."""

    request: R
    index: int
    windows: list[Window]
    encoding: Encoding | None = None
    """Where the answer needs more than ids."""
    outputs: dict[int, NDArray[Any]] = field(default_factory=dict)

    @property
    def usage(self) -> frames.Usage:
        tokens = sum(len(window.tokens) for window in self.windows)
        return frames.Usage(tokens, 0, windows=len(self.windows))

    def in_order(self) -> list[NDArray[Any]]:
        """What was kept of each window's output."""
        return [self.outputs[place] for place in range(len(self.windows))]

    def mean(self, rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Of a row for each window, weighted by the windows' tokens."""
        if len(rows) == 1:
            return rows[0]
        weights = [len(window.tokens) for window in self.windows]
        return np.asarray(np.average(np.stack(rows), axis=0, weights=weights))


@dataclass(slots=True, eq=False, kw_only=True)
class Text(Item, Generic[R]):
    """One window of a document; its output is the graph's raw answer."""

    document: Document[R]
    place: int


class ReadingTask(ABC, Generic[R]):
    """Subclasses say what they read of a request, and what a document's outputs mean."""

    def __init__(self, manifest: Manifest, tokenizer: FullTokenizer) -> None:
        self._tokenizer = tokenizer
        self._limit = manifest.limits.max_input_tokens

    def prepare(self, request: frames.Submit, call: Call) -> list[Text[R]]:
        """Raises InvalidInput, naming the field, and WrongTask."""
        documents = self._read(request)
        return [
            Text(
                call=call,
                index=document.index,
                tokens=window.tokens,
                types=window.types,
                document=document,
                place=place,
            )
            for document in documents
            for place, window in enumerate(document.windows)
        ]

    def tell(self, text: Text[R]) -> frames.Answer | None:
        """The answer, once this was the last window of its call. Raises Bug for numbers that are none."""
        document, call = text.document, text.call
        if not np.isfinite(text.output).all():
            raise Bug("the checkpoint gave no finite score for this text")
        kept = self._kept(text.output)
        # Of a window, a copy: what it gives is a view of its whole batch's output, and a long document waits for many batches.
        document.outputs[text.place] = kept if len(document.windows) == 1 else kept.copy()
        if len(document.outputs) < len(document.windows):
            return None
        return self._answer(call) if call.settle(document.index, self._result(document)) else None

    @abstractmethod
    def _read(self, request: frames.Submit) -> list[Document[R]]:
        """One document for each input. Raises InvalidInput and WrongTask."""

    def _kept(self, output: NDArray[np.float32]) -> NDArray[Any]:
        """What is kept of a window's output until the document is read: a long one has a thousand windows."""
        return output

    @abstractmethod
    def _result(self, document: Document[R]) -> frames.Frame:
        """Of a document that is read."""

    @abstractmethod
    def _answer(self, call: Call) -> frames.Answer:
        """Of a call that is settled."""

    def _in_ids(self, request: R, windowed: frames.Windows | None) -> list[Document[R]]:
        """Of single texts whose answers need nothing but their tokens' ids."""
        if windowed is None:
            encoded = tokenize(self._tokenizer, request.texts, self._limit)
            return [Document(request, index, [Window(ids, None)]) for index, ids in enumerate(encoded)]
        encoded = tokenize(self._tokenizer, request.texts, None)
        longer = [index for index, ids in enumerate(encoded) if len(ids) > self._limit]
        found = self._tokenizer.encode_fully([request.texts[index] for index in longer])
        fully = dict(zip(longer, found, strict=True))
        return _bounded(
            Document(
                request,
                index,
                self._windows(index, fully[index], windowed) if index in fully else [Window(ids, None)],
            )
            for index, ids in enumerate(encoded)
        )

    def _in_full(
        self, request: R, windowed: frames.Windows | None, pairs: Sequence[str | None] = ()
    ) -> list[Document[R]]:
        """Of pairs, and of texts whose answers speak of their tokens."""
        encodings = self._tokenizer.encode_fully(request.texts, pairs)
        return _bounded(
            Document(request, index, self._windows(index, encoding, windowed), encoding)
            for index, encoding in enumerate(encodings)
        )

    def _windows(self, index: int, encoding: Encoding, windowed: frames.Windows | None) -> list[Window]:
        field, tokens = text_field(index), len(encoding.ids)
        if not tokens:
            raise InvalidInput("the text has no token", field=field)
        if windowed is None:
            if tokens > self._limit:
                raise InvalidInput(
                    f"the text has {tokens} tokens, and the checkpoint reads at most {self._limit}",
                    field=field,
                )
            return [windows.whole(encoding)]
        return windows.windows(encoding, self._limit, windowed.overlap, field)


def _bounded(documents: Iterable[Document[R]]) -> list[Document[R]]:
    """All of them. Raises InvalidInput as soon as they have too many windows, before the others are made."""
    made, count = [], 0
    for document in documents:
        made.append(document)
        count += len(document.windows)
        if count > MAX_REQUEST_WINDOWS:
            raise InvalidInput(
                f"the texts have more than {MAX_REQUEST_WINDOWS} windows together", field="inputs"
            )
    return made
