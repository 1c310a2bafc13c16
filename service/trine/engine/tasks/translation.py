"""Translation: an encoder-decoder checkpoint reads each source and writes it anew. Engine process, its only thread."""

from __future__ import annotations

from dataclasses import replace

from trine import frames
from trine.artifact import Manifest
from trine.engine.tasks.encoder_decoder import EncoderDecoderTask
from trine.engine.tasks.generative import Detokenizer, MakeChoice
from trine.engine.tasks.inputs import Tokenizer
from trine.engine.tasks.languages import Told, languages
from trine.engine.tasks.passage import Source
from trine.engine.tasks.segments import segmented, whole
from trine.frames import Direction


class Translation(EncoderDecoderTask):
    """The sentences of a text are sequences of the same call, so that they run side by side."""

    def __init__(
        self, manifest: Manifest, tokenizer: Tokenizer, detokenizer: Detokenizer, choice: MakeChoice
    ) -> None:
        super().__init__(manifest, tokenizer, detokenizer, choice)
        self._languages = languages(manifest, tokenizer)
        self._language_ids = frozenset(manifest.languages.values())

    def _read(self, request: frames.Generate) -> list[Source]:
        directions = request.directions or [Direction()] * len(request.texts)
        told = [
            self._languages.told(index, direction, text)
            for index, (direction, text) in enumerate(zip(directions, request.texts, strict=True))
        ]
        read = segmented if request.split else whole
        sources = read(self._tokenizer, request.texts, self._limits.max_input_tokens, told)
        return [self._in_languages(source, each) for source, each in zip(sources, told, strict=True)]

    def _in_languages(self, source: Source, told: Told) -> Source:
        """The tokens of its languages where the tokenizer or the checkpoint has put another's."""
        if told.source_id is not None:
            for tokens in source.parts:
                tokens[told.source_place] = told.source_id
        if told.target_id is None:
            return source
        # mBART's first checkpoints begin with the target's language; all others write it
        if self._start_id in self._language_ids:
            return replace(source, start_id=told.target_id)
        return replace(source, first_id=told.target_id)
