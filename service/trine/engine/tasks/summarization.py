"""Summarization: an encoder-decoder checkpoint reads each text whole and writes it shorter. Engine process, its only thread.

What a checkpoint's config proposes for summaries (beams, a least length, a length penalty) is left to the request.
"""

from __future__ import annotations

from trine import frames
from trine.engine.tasks.encoder_decoder import EncoderDecoderTask
from trine.engine.tasks.inputs import tokenize
from trine.engine.tasks.passage import Source


class Summarization(EncoderDecoderTask):
    """A text that does not fit the context is refused: a summary of its beginning would be none of it."""

    def _read(self, request: frames.Generate) -> list[Source]:
        prefix = self._generation.input_prefix
        texts = [text if text.startswith(prefix) else prefix + text for text in request.texts]
        return [
            Source([tokens]) for tokens in tokenize(self._tokenizer, texts, self._limits.max_input_tokens)
        ]
