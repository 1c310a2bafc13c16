"""Generation: a decoder-only checkpoint continues each prompt. Engine process, its only thread."""

from __future__ import annotations

from trine import frames
from trine.engine.tasks.generative import GenerativeTask
from trine.engine.tasks.inputs import text_field, tokenize
from trine.engine.tasks.passage import Source
from trine.errors import InvalidInput


class Generation(GenerativeTask):
    """Prompt and new tokens share the context."""

    def _read(self, request: frames.Generate) -> list[Source]:
        context = self._limits.max_input_tokens
        encoded = tokenize(self._tokenizer, request.texts, context)
        for index, tokens in enumerate(encoded):
            if len(tokens) == context:
                raise InvalidInput(
                    f"the prompt has {len(tokens)} tokens and fills the context of {context}: nothing can be written",
                    field=text_field(index),
                )
        return [Source([tokens]) for tokens in encoded]

    def _room(self, input_tokens: int) -> int:
        return self._limits.max_input_tokens - input_tokens

    def _beginning(self, tokens: list[int]) -> list[int]:
        return list(tokens)
