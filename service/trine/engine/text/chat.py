"""A conversation as the prompt that the checkpoint's own template makes of it. Engine process, its only thread; also export.chat.

As transformers' `apply_chat_template(..., add_generation_prompt=True)`, but for what `allowed` does not have. What a message says
becomes part of the text: a special token's name in it is read as that token, as transformers does too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from trine.engine.text.allowed import OutOfBounds
from trine.engine.text.sandbox import Sandbox
from trine.errors import ArtifactCorrupt, InvalidInput

CHAT_TEMPLATE = "chat_template.jinja"
SPECIAL_TOKENS = "special_tokens_map.json"
"""An object, as {"bos_token": "<s>"}: what the template knows by these names."""
MAX_TEMPLATE = 1 << 16
"""Characters."""


class ChatTemplate:
    """Compiled once; renders one conversation at a time."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """`special_tokens` by their names, as "bos_token". Raises ArtifactCorrupt for what is no template or not allowed."""
        if len(source) > MAX_TEMPLATE:
            raise ArtifactCorrupt(f"the chat template has more than {MAX_TEMPLATE} characters")
        self._sandbox = Sandbox()
        self._special_tokens = dict(special_tokens)
        try:
            self._template = self._sandbox.from_string(self._sandbox.metered(source))
        except Exception as error:
            raise ArtifactCorrupt(
                "the chat template does not compile, or uses what is not allowed"
            ) from error

    @classmethod
    def open(cls, folder: Path) -> ChatTemplate:
        """That of an artifact. Raises ArtifactCorrupt."""
        try:
            source = (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
            tokens = json.loads((folder / SPECIAL_TOKENS).read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactCorrupt("the chat template cannot be read") from error
        return cls(source, tokens)

    @property
    def spent(self) -> int:
        """What the newest rendering took of engine.text.meter's BUDGET."""
        return self._sandbox.spent

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt, special tokens in it by name. Each message has a "role" and a "content".

        Raises InvalidInput, without a field, for what the template does not take, and for what takes too long or too much.
        """
        self._sandbox.start()
        try:
            return self._template.render(
                messages=[dict(message) for message in messages],
                **{"tools": None, "documents": None, "add_generation_prompt": True, **self._special_tokens},
            )
        except OutOfBounds as error:
            raise InvalidInput(
                "the conversation is too long for the checkpoint's chat template, or the template makes too much of it"
            ) from error
        except Exception as error:  # what it raises itself, and what it does not foresee
            raise InvalidInput("the checkpoint's chat template refuses these messages") from error
