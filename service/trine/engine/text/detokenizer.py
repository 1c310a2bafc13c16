"""Token ids in, text out, at once or piece by piece. Engine process, loop thread; also export.verify.

A stream holds back what is not certain yet: half a UTF-8 character, and, for tokenizers with byte fallback, a run of byte
tokens, since one wrong byte turns the whole run into replacement characters.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers.decoders import DecodeStream

from trine.engine.text.boundary import answered_by
from trine.errors import ArtifactCorrupt, Bug

REPLACEMENT = "\ufffd"
_CACHED = 16_384
"""Tokens whose own texts are kept, of one detokenizer."""


class Detokenizer:
    def __init__(self, path: Path) -> None:
        """Raises ArtifactCorrupt."""
        with answered_by(ArtifactCorrupt, "the tokenizer cannot be loaded"):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
            self._uncertain = _byte_run_ids(self._tokenizer)
            self._anchor = _letter_id(self._tokenizer)
        self.token_text = functools.lru_cache(_CACHED)(self._token_text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of all ids together, special tokens skipped."""
        with answered_by(Bug, "the tokens cannot be turned into text"):
            return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _token_text(self, token: int) -> str:
        """`token_text(token)`: what one token adds to text before it; U+FFFD for part of a character; special tokens by name."""
        with answered_by(Bug, "the tokens cannot be turned into text"):
            if self._anchor is None:
                return self._tokenizer.decode([token], skip_special_tokens=False)
            before = self._tokenizer.decode([self._anchor], skip_special_tokens=False)
            after = self._tokenizer.decode([self._anchor, token], skip_special_tokens=False)
            return after[len(before) :]

    def stream(self) -> TextStream:
        return TextStream(self, self._tokenizer, self._uncertain)


class TextStream:
    """One sequence's text as it grows: all pushes and the finish together are `decode(ids)`."""

    def __init__(
        self, detokenizer: Detokenizer, tokenizer: tokenizers.Tokenizer, uncertain: frozenset[int]
    ) -> None:
        self._detokenizer = detokenizer
        self._tokenizer = tokenizer
        self._uncertain = uncertain
        self._ids: list[int] = []
        self._held: list[int] = []
        self._pushed: list[str] = []
        self._decoder: DecodeStream | None = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """The text that has become certain with this token; often empty, never half a character."""
        self._ids.append(token)
        self._held.append(token)
        if token in self._uncertain:
            return ""
        held, self._held = self._held, []
        text = self._step(held)
        if text:
            self._pushed.append(text)
        return text

    def finish(self) -> str:
        """What is left when no token will come any more."""
        text = self._remainder()
        self._pushed.append(text)
        return text

    def _step(self, ids: list[int]) -> str:
        if self._decoder is None:
            return self._recover()
        try:
            with answered_by(Bug, "the tokens cannot be turned into text"):
                return self._decoder.step(self._tokenizer, ids) or ""
        except Bug:
            return self._recover()

    def _recover(self) -> str:
        """After "invalid prefix" (the library's window of recent tokens reads otherwise with the new one): the whole decides.

        A new window starts where nothing is held back; until then every push reads the whole.
        """
        text = self._remainder()
        if text.endswith(REPLACEMENT):
            self._decoder = None
            return ""
        self._decoder = DecodeStream(self._ids, skip_special_tokens=True)
        return text

    def _remainder(self) -> str:
        whole, pushed = self._detokenizer.decode(self._ids), "".join(self._pushed)
        return whole[len(pushed) :] if whole.startswith(pushed) else ""


def _letter_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """A token that is a letter or digit of its own, after which others read as in the midst of a text; None without one."""
    ids = (tokenizer.token_to_id(form) for letter in "aeinot0" for form in (letter, f"▁{letter}"))
    return next((token for token in ids if token is not None), None)


def _byte_run_ids(tokenizer: tokenizers.Tokenizer) -> frozenset[int]:
    """Ids that leave the text open: bytes and special tokens of a tokenizer with byte fallback; else none."""
    layout = json.loads(tokenizer.to_str())
    if '"ByteFallback"' not in json.dumps(layout.get("decoder")):
        return frozenset()
    bytes_ = (tokenizer.token_to_id(f"<0x{value:02X}>") for value in range(256))
    special = (token["id"] for token in layout["added_tokens"] if token["special"])
    return frozenset({*special, *(token for token in bytes_ if token is not None)})
