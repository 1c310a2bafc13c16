"""Strings in, token ids out. Engine process, loop thread; also export.verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from trine.engine.text.boundary import answered_by
from trine.errors import ArtifactCorrupt, InvalidInput

_UNKNOWN = ("<unk>", "[UNK]")
"""How the unknown token is called where the tokenizer's model does not say."""


@dataclass(slots=True, frozen=True)
class Encoding:
    """All that is known of one input, an entry for each token."""

    ids: list[int]
    types: list[int]
    """Token types: 1 for those of a second text, where the checkpoint was trained so."""
    parts: list[int | None]
    """Which text it stands in, 0 or 1; None for a special token that was added."""
    offsets: list[tuple[int, int]]
    """Where in its text, in code points of the string as it was given; the end is exclusive."""
    continues: list[bool]
    """Whether it goes on a word, as transformers' TokenClassificationPipeline decides."""


class Tokenizer:
    """A `tokenizer.json`, told neither to cut nor to pad."""

    def __init__(self, path: Path, vocab_size: int, unk_id: int | None) -> None:
        """Raises ArtifactCorrupt. Ids at or beyond `vocab_size` are read as `unk_id`."""
        with answered_by(ArtifactCorrupt, "the tokenizer cannot be loaded"):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._marks_pieces = bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))
            self._unknown = self._unknown_token()
        self._vocab_size = vocab_size
        self._unk_id = unk_id

    def encode(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        """Token ids of each text. The GIL is released meanwhile.

        With special tokens the tokenizer adds its own around the text; those that the text names are read in any case.

        Raises InvalidInput for what the tokenizer cannot read, and where a text holds a token beyond the vocabulary and there is
        no unknown token; then the field is `inputs[i].text`, i being the text's index.
        """
        with answered_by(InvalidInput, "the text cannot be tokenized"):
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return [self._known(index, encoding.ids) for index, encoding in enumerate(encodings)]

    def encode_fully(self, texts: Sequence[str], pairs: Sequence[str | None] = ()) -> list[Encoding]:
        """The same with all that is known of the tokens; `pairs` has a second text, or None, for each text, or is empty.

        It costs a few times what `encode` does.
        """
        inputs = list(texts) if not pairs else [_joined(*both) for both in zip(texts, pairs, strict=True)]
        with answered_by(InvalidInput, "the text cannot be tokenized"):
            encodings = self._tokenizer.encode_batch(inputs)
        return [
            Encoding(
                self._known(index, found.ids),
                found.type_ids,
                found.sequence_ids,
                found.offsets,
                self._continues(text, found),
            )
            for index, (text, found) in enumerate(zip(texts, encodings, strict=True))
        ]

    def _continues(self, text: str, found: tokenizers.Encoding) -> list[bool]:
        if self._marks_pieces:
            # A piece is longer than what it stands for by its prefix (and where accents were taken off it: as transformers has it).
            return [
                token != self._unknown and len(word) != end - begin
                for token, word, (begin, end) in zip(found.ids, found.tokens, found.offsets, strict=True)
            ]
        return [
            token != self._unknown and begin > 0 and " " not in text[begin - 1 : begin + 1]
            for token, (begin, _) in zip(found.ids, found.offsets, strict=True)
        ]

    def _unknown_token(self) -> int | None:
        named = getattr(self._tokenizer.model, "unk_token", None)
        ids = [self._tokenizer.token_to_id(name) for name in ([named] if named else _UNKNOWN)]
        return next((token for token in ids if token is not None), None)

    def _known(self, index: int, ids: list[int]) -> list[int]:
        if not ids or max(ids) < self._vocab_size:
            return ids
        if self._unk_id is None:
            raise InvalidInput(
                "the text holds a token that the checkpoint does not know", field=f"inputs[{index}].text"
            )
        return [token if token < self._vocab_size else self._unk_id for token in ids]


def _joined(text: str, pair: str | None) -> str | tuple[str, str]:
    return text if pair is None else (text, pair)
