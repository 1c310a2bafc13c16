"""Strings in, token ids out. Engine process, loop thread; also export.verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from trine.engine.text.boundary import answered_by
from trine.errors import ArtifactCorrupt, InvalidInput


class Tokenizer:
    """A `tokenizer.json`, told neither to cut nor to pad."""

    def __init__(self, path: Path, vocab_size: int, unk_id: int | None) -> None:
        """Raises ArtifactCorrupt. Ids at or beyond `vocab_size` are read as `unk_id`."""
        with answered_by(ArtifactCorrupt, "the tokenizer cannot be loaded"):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
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

    def _known(self, index: int, ids: list[int]) -> list[int]:
        if not ids or max(ids) < self._vocab_size:
            return ids
        if self._unk_id is None:
            raise InvalidInput(
                "the text holds a token that the checkpoint does not know", field=f"inputs[{index}].text"
            )
        return [token if token < self._vocab_size else self._unk_id for token in ids]
