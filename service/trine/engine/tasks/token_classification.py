"""Token classification: the entities of each text, where they stand and how sure they are. Engine process, its only thread."""

from __future__ import annotations

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling.call import Call
from trine.engine.tasks.entities import Labels, entities
from trine.engine.tasks.reading import Document, FullTokenizer, ReadingTask
from trine.engine.tasks.windows import merged
from trine.errors import Bug, InvalidInput, WrongTask

MAX_ENTITIES = 131_072
"""Of one request: what still fits a gRPC message of 4 MiB."""


class TokenClassification(ReadingTask[frames.ClassifyTokens]):
    """A text's output is the raw logits, float32 [tokens, labels].

    Windows are merged token by token before entities are made, so that none is cut at a border or told twice.
    """

    def __init__(self, manifest: Manifest, tokenizer: FullTokenizer) -> None:
        super().__init__(manifest, tokenizer)
        self._labels = Labels(manifest.labels)

    def _read(self, request: frames.Submit) -> list[Document[frames.ClassifyTokens]]:
        if not isinstance(request, frames.ClassifyTokens):
            raise WrongTask("the checkpoint does token classification", field="checkpoint")
        return self._in_full(request, request.windows)

    def _result(self, document: Document[frames.ClassifyTokens]) -> frames.Tagged:
        encoding = document.encoding
        if encoding is None:
            raise Bug("a text was read without its offsets")
        text = document.request.texts[document.index]
        logits = merged(document.windows, document.in_order(), len(encoding.ids))
        own = [place for place, part in enumerate(encoding.parts) if part is not None]
        found = entities(
            logits[own],
            [encoding.offsets[place] for place in own],
            [encoding.continues[place] for place in own],
            self._labels,
            document.request.aggregation,
        )
        told = [
            frames.Entity(one.label, one.score, text[one.begin : one.end], one.begin, one.end)
            for one in found
        ]
        return frames.Tagged(told, document.usage)

    def _answer(self, call: Call) -> frames.Answer:
        tagged: list[frames.Tagged] = call.in_order()
        count = sum(len(one.entities) for one in tagged)
        if count > MAX_ENTITIES:
            raise InvalidInput(
                f"the texts have {count} entities, and at most {MAX_ENTITIES} are told at once",
                field="inputs",
            )
        return frames.Answer(call.id, tagged=tagged)
