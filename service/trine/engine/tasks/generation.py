"""Generation: a decoder-only checkpoint continues each prompt, or answers each conversation. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trine import frames
from trine.artifact import Manifest
from trine.engine.tasks.generative import Detokenizer, GenerativeTask, MakeChoice
from trine.engine.tasks.inputs import Tokenizer, text_field, tokenize
from trine.engine.tasks.passage import Source
from trine.engine.text.chat import ChatTemplate
from trine.errors import InvalidInput, NotPossible

MAX_TEMPLATE_WORK = 40_000_000
"""Of all conversations of a request, in units of engine.text.meter: under 2 s, in which the engine does nothing else."""


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

        A rendering is as long as the template's sandbox lets it be; the tokenizer reads a batch of them on all its threads.
        """
        prompts = self._prompts(request)
        chats = [index for index, messages in enumerate(request.conversations) if messages]
        plain = [index for index, messages in enumerate(request.conversations) if not messages]
        encoded: dict[int, list[int]] = {}
        for indices, adds in ((chats, False), (plain, True)):
            if indices:
                fields = {text_field(place): _field(index, request) for place, index in enumerate(indices)}
                texts = [prompts[index] for index in indices]
                encoded |= zip(indices, self._tokens(texts, context, fields, adds), strict=True)
        return [encoded[index] for index in range(len(prompts))]

    def _prompts(self, request: frames.Generate) -> list[str]:
        prompts, spent = [], 0
        for index, messages in enumerate(request.conversations):
            prompts.append(self._prompt(index, request))
            spent += self._chat.spent if messages and self._chat is not None else 0
            if spent > MAX_TEMPLATE_WORK:
                raise InvalidInput(
                    "the conversations are too much for the checkpoint's chat template together; send fewer at once",
                    field="inputs",
                )
        return prompts

    def _tokens(
        self, texts: list[str], context: int, fields: Mapping[str, str], adds: bool
    ) -> list[list[int]]:
        """`fields` as they are called in the request, by how they are in a batch of `texts` alone."""
        try:
            return tokenize(self._tokenizer, texts, context, add_special_tokens=adds)
        except InvalidInput as error:
            raise InvalidInput(error.message, field=fields.get(error.field, error.field)) from error

    def _prompt(self, index: int, request: frames.Generate) -> str:
        messages = request.conversations[index]
        if not messages:
            return request.texts[index]
        try:
            return self._rendered(messages)
        except (InvalidInput, NotPossible) as error:
            raise type(error)(error.message, field=_field(index, request)) from error

    def _rendered(self, messages: Sequence[frames.Message]) -> str:
        if self._chat is None:
            raise NotPossible("the checkpoint has no chat template")
        return self._chat.render([{"role": each.role, "content": each.content} for each in messages])

    def _room(self, input_tokens: int) -> int:
        return self._limits.max_input_tokens - input_tokens

    def _beginning(self, source: Source, tokens: list[int]) -> list[int]:
        return list(tokens)


def _field(index: int, request: frames.Generate) -> str:
    chat = bool(request.conversations) and bool(request.conversations[index])
    return f"inputs[{index}].messages" if chat else text_field(index)
