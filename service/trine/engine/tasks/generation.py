"""Generation: a decoder-only checkpoint continues each prompt, or answers each conversation. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Sequence

from trine import frames
from trine.artifact import Manifest
from trine.engine.tasks.generative import Detokenizer, GenerativeTask, MakeChoice
from trine.engine.tasks.inputs import Tokenizer, text_field, tokenize
from trine.engine.tasks.passage import Source
from trine.engine.text.chat import ChatTemplate
from trine.errors import InvalidInput, NotPossible


class Generation(GenerativeTask):
    """Prompt and new tokens share the context."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        detokenizer: Detokenizer,
        choice: MakeChoice,
        chat: ChatTemplate | None = None,
    ) -> None:
        super().__init__(manifest, tokenizer, detokenizer, choice)
        self._chat = chat

    def _read(self, request: frames.Generate) -> list[Source]:
        context = self._limits.max_input_tokens
        if any(request.conversations):
            encoded = self._read_conversations(request, context)
        else:
            encoded = tokenize(self._tokenizer, request.texts, context)
        for index, tokens in enumerate(encoded):
            if len(tokens) == context:
                raise InvalidInput(
                    f"the prompt has {len(tokens)} tokens and fills the context of {context}: nothing can be written",
                    field=_field(index, request),
                )
        return [Source([tokens]) for tokens in encoded]

    def _read_conversations(self, request: frames.Generate, context: int) -> list[list[int]]:
        """The prompts of inputs some of which are plain text. The template writes the special tokens of a conversation's itself.

        What is rendered is bounded by the template's sandbox alone, so nothing is tokenized before all of it is.
        """
        prompts = [self._prompt(index, request) for index in range(len(request.texts))]
        chats = [index for index, messages in enumerate(request.conversations) if messages]
        plain = [index for index, messages in enumerate(request.conversations) if not messages]
        encoded: dict[int, list[int]] = {}
        for indices, adds in ((chats, False), (plain, True)):
            if indices:
                texts = [prompts[index] for index in indices]
                tokens = self._tokenizer.encode(texts, add_special_tokens=adds)
                encoded |= dict(zip(indices, tokens, strict=True))
        return [encoded[index] for index in range(len(prompts))]

    def _prompt(self, index: int, request: frames.Generate) -> str:
        messages = request.conversations[index]
        if not messages:
            return request.texts[index]
        try:
            return self._rendered(messages)
        except (InvalidInput, NotPossible) as error:
            raise type(error)(error.message, field=_field(index, request)) from error

    def _room(self, input_tokens: int) -> int:
        return self._limits.max_input_tokens - input_tokens

    def _beginning(self, source: Source, tokens: list[int]) -> list[int]:
        return list(tokens)


def _field(index: int, request: frames.Generate) -> str:
    chat = bool(request.conversations) and bool(request.conversations[index])
    return f"inputs[{index}].messages" if chat else text_field(index)
