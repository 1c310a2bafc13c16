"""The vocabulary of a tokenizer.json: how many entries it has, how long they are, and what a long word may cost. Front and export process."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules.names import shown_word

MAX_ENTRIES = 1 << 20
MAX_MERGES = 1 << 21
MAX_ENTRY = 1024
"""Characters of one entry: vocabularies of code have runs of some hundred spaces."""
MAX_PIECE = 256
"""Of one entry of Unigram, which looks at every beginning of a text."""
MAX_WORD = 200
"""Characters that WordPiece looks at in one word, in quadratic time; a longer one is unknown."""
_MAX_ADDED = 1 << 17
_MAX_AFFIX = 64


def check_model(model: Mapping[str, Any], name: str) -> None:
    """Raises UnsafeCheckpoint and NotACheckpoint. `name`: the file's."""
    kind = model.get("type")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise UnsafeCheckpoint(
            f"{name} has a model of a kind that is not known: {shown_word(kind, 'an odd word')}"
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        affix = model.get(key)
        if affix is not None and not (isinstance(affix, str) and len(affix) <= _MAX_AFFIX):
            raise UnsafeCheckpoint(f"{name} has a {key} of more than {_MAX_AFFIX} characters")
    _MODELS[kind](model, name)


def check_words(words: Mapping[str, Any], name: str) -> None:
    """A vocabulary by itself, as vocab.json: words with their numbers. Raises UnsafeCheckpoint."""
    if len(words) > MAX_ENTRIES:
        raise UnsafeCheckpoint(f"{name} has a vocabulary of more than {MAX_ENTRIES} entries")
    _check_texts(words, MAX_ENTRY, name, empty=True)
    _check_ids(words.values(), name)


def check_added_tokens(tokens: Any, name: str) -> None:
    """Raises UnsafeCheckpoint and NotACheckpoint."""
    if tokens is None:
        return
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise NotACheckpoint(f"{name} has added tokens that are none")
    if len(tokens) > _MAX_ADDED:
        raise UnsafeCheckpoint(f"{name} has more than {_MAX_ADDED} added tokens")
    _check_texts((token.get("content") for token in tokens), MAX_ENTRY, name)
    _check_ids([token.get("id") for token in tokens], name)


def _check_mapped(model: Mapping[str, Any], name: str) -> None:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise NotACheckpoint(f"{name} has no vocabulary")
    check_words(vocab, name)


def _check_word_piece(model: Mapping[str, Any], name: str) -> None:
    _check_mapped(model, name)
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or not 1 <= longest <= MAX_WORD:
        raise UnsafeCheckpoint(f"{name} has a max_input_chars_per_word that is not between 1 and {MAX_WORD}")


def _check_bpe(model: Mapping[str, Any], name: str) -> None:
    _check_mapped(model, name)
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise NotACheckpoint(f"{name} has no merges")
    if len(merges) > MAX_MERGES:
        raise UnsafeCheckpoint(f"{name} has more than {MAX_MERGES} merges")
    if not all(_is_merge(merge) for merge in merges):
        raise UnsafeCheckpoint(
            f"{name} has a merge that is not two entries of at most {MAX_ENTRY} characters"
        )
    if model.get("dropout"):
        raise UnsafeCheckpoint(f"{name} has a dropout: the same text would be read in another way each time")


def _is_merge(merge: Any) -> bool:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    return (
        isinstance(parts, list)
        and len(parts) == 2
        and all(isinstance(part, str) and 0 < len(part) <= MAX_ENTRY for part in parts)
    )


def _check_unigram(model: Mapping[str, Any], name: str) -> None:
    vocab = model.get("vocab")
    if not isinstance(vocab, list) or not all(isinstance(piece, list) and len(piece) == 2 for piece in vocab):
        raise NotACheckpoint(f"{name} has no vocabulary")
    if not 0 < len(vocab) <= MAX_ENTRIES:
        raise UnsafeCheckpoint(f"{name} has a vocabulary of no entries or of more than {MAX_ENTRIES}")
    _check_texts((piece for piece, _ in vocab), MAX_PIECE, name, empty=True)
    if not all(type(score) in (int, float) and math.isfinite(score) for _, score in vocab):
        raise UnsafeCheckpoint(f"{name} has a score that is no number")
    unknown = model.get("unk_id")
    if unknown is not None and not (type(unknown) is int and 0 <= unknown < len(vocab)):
        raise UnsafeCheckpoint(f"{name} has an unk_id outside of its vocabulary")


def _check_texts(texts: Iterable[Any], most: int, name: str, *, empty: bool = False) -> None:
    for text in texts:
        if not isinstance(text, str) or len(text) > most or not (text or empty):
            raise UnsafeCheckpoint(f"{name} has an entry that is empty or longer than {most} characters")


def _check_ids(ids: Collection[Any], name: str) -> None:
    if not all(type(each) is int and 0 <= each < 2 * MAX_ENTRIES for each in ids):
        raise UnsafeCheckpoint(f"{name} has an entry whose number is not between 0 and {2 * MAX_ENTRIES}")


_MODELS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "BPE": _check_bpe,
    "Unigram": _check_unigram,
    "WordLevel": _check_mapped,
    "WordPiece": _check_word_piece,
}
