"""The texts of a request as token ids, or the reason why one of them cannot be served. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trine.errors import InvalidInput


class Tokenizer(Protocol):
    def encode(self, texts: Sequence[str], /, *, add_special_tokens: bool = True) -> list[list[int]]:
        """Token ids of each text, nothing cut."""


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], limit: int | None, *, add_special_tokens: bool = True
) -> list[list[int]]:
    """Token ids of all texts, each 1 to `limit` long, or of any length. Raises InvalidInput that names the first text that is not."""
    if not texts:
        raise InvalidInput("there is no input", field="inputs")
    encoded = tokenizer.encode(texts, add_special_tokens=add_special_tokens)
    for index, tokens in enumerate(encoded):
        if not tokens:
            raise InvalidInput("the text has no token", field=text_field(index))
        if limit is not None and len(tokens) > limit:
            raise InvalidInput(
                f"the text has {len(tokens)} tokens, and the checkpoint reads at most {limit}",
                field=text_field(index),
            )
    return encoded


def text_field(index: int) -> str:
    """How a request's fields are named in errors."""
    return f"inputs[{index}].text"
