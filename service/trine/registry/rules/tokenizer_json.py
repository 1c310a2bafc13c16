"""A tokenizer.json by its parts: known components only, with numbers that bound what one character can cost. Front and export process.

The tokenizers library builds whatever the file says, and holds the interpreter's lock while it does; a chain of replacements that each
make two characters of one makes 1.6 GB of a letter. Read from its own format (https://github.com/huggingface/tokenizers, src/).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules import documents, patterns, vocabularies
from trine.registry.rules.names import shown_file, shown_word

MAX_BYTES = 64 << 20
MAX_STEPS = 32
"""Of normalizer, pre-tokenizer, post-processor and decoder each."""
_MAX_ANCHORED = 1024
"""Of a normalizer's steps that are found once at most: Marian's, one for each language."""
MAX_GROWTH = 16
"""Characters that all replacements together may make of one."""
_MAX_AFFIX = 64
_MAX_PIECES = 64
_MAX_MAPPED_BYTES = 256
_KEYS = frozenset({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer"}) | {
    *("post_processor", "decoder", "model")
}

_STEPS: Mapping[str, tuple[str, frozenset[str]]] = {
    "normalizer": (
        "normalizers",
        frozenset(
            {"BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled"}
        )
        | {"Prepend", "Replace", "Strip", "StripAccents"},
    ),
    "pre_tokenizer": (
        "pretokenizers",
        frozenset(
            {"BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation"}
        )
        | {"Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"},
    ),
    "post_processor": (
        "processors",
        frozenset({"BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"}),
    ),
    "decoder": (
        "decoders",
        frozenset(
            {"BPEDecoder", "ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece"}
        ),
    ),
}
"""Of each part: the key under which a Sequence holds its members, and the types that are known."""


def check(path: Path, *, quadratic: bool = False) -> None:
    """The tokenizer in `path`. `quadratic`: it is a checkpoint's, whose slow patterns the export replaces (`patterns.LINEAR`).

    Raises UnsafeCheckpoint and NotACheckpoint.
    """
    check_document(documents.read(path, MAX_BYTES), shown_file(path.name), quadratic=quadratic)


def check_document(document: Any, name: str, *, quadratic: bool = False) -> None:
    """Raises NotACheckpoint and UnsafeCheckpoint."""
    try:
        _check_document(document, name, quadratic)
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:  # a value of another kind than its place has
        raise NotACheckpoint(f"{name} is not a tokenizer as any library writes it") from error


def _check_document(document: Any, name: str, quadratic: bool) -> None:
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise NotACheckpoint(f"{name} is not a tokenizer")
    if odd := sorted(document.keys() - _KEYS):
        raise UnsafeCheckpoint(f"{name} has a part that is not known: {shown_word(odd[0], 'an odd word')}")
    vocabularies.check_model(document["model"], name)
    vocabularies.check_added_tokens(document.get("added_tokens"), name)
    for part in _STEPS:
        _check_part(part, document.get(part), name, quadratic)


def _check_part(part: str, component: Any, name: str, quadratic: bool) -> None:
    found = list(_flat(part, component, name))
    anchored = sum(_found_once(step) for step in found)
    if len(found) - anchored > MAX_STEPS or anchored > _MAX_ANCHORED:
        raise UnsafeCheckpoint(f"{name} has a {part} of more than {MAX_STEPS} steps")
    growth = 1.0
    for step in found:
        kind = step["type"]
        if kind in _CHECKS:
            _CHECKS[kind](step, name)
        if kind in {"Replace", "Split"}:
            _check_pattern(step, name, quadratic)
        if kind == "Replace" and not _found_once(step):
            growth *= _growth(step)
    if growth > MAX_GROWTH:
        raise UnsafeCheckpoint(
            f"{name} has replacements that make more than {MAX_GROWTH} characters of one, one after another"
        )


def _flat(part: str, component: Any, name: str) -> Iterator[dict[str, Any]]:
    """The steps, with those of each Sequence in its place."""
    if component is None:
        return
    members, kinds = _STEPS[part]
    kind = component.get("type") if isinstance(component, dict) else None
    if kind == "Sequence":
        inner = component.get(members)
        if not isinstance(inner, list):
            raise NotACheckpoint(f"{name} has a {part} without steps")
        for each in inner:
            yield from _flat(part, each, name)
    elif kind in kinds:
        yield component
    else:
        raise UnsafeCheckpoint(
            f"{name} has a {part} of a kind that is not known: {shown_word(kind, 'an odd word')}"
        )


def _pattern(step: Mapping[str, Any]) -> tuple[str, str]:
    """ "Regex" or "String", and what it says."""
    pattern = step.get("pattern")
    if isinstance(pattern, dict) and len(pattern) == 1:
        ((kind, text),) = pattern.items()
        if isinstance(text, str):
            return kind, text
    return "", ""


def _check_pattern(step: Mapping[str, Any], name: str, quadratic: bool) -> None:
    kind, text = _pattern(step)
    letters = step["type"] == "Split" and kind == "String"  # by nothing: into single characters
    if (
        not (text or letters)
        or (kind == "String" and len(text) > _MAX_AFFIX)
        or kind not in {"Regex", "String"}
    ):
        raise UnsafeCheckpoint(f"{name} has a {step['type']} without a pattern, or with a very long one")
    if kind == "Regex" and not patterns.known(text, quadratic=quadratic):
        raise UnsafeCheckpoint(
            f"{name} has a {step['type']} by a regular expression that is none of the well-known ones; "
            "others could take for ever with some text"
        )


def _found_once(step: Mapping[str, Any]) -> bool:
    kind, text = _pattern(step)
    return step["type"] == "Replace" and kind == "Regex" and patterns.found_once(text)


def _growth(step: Mapping[str, Any]) -> float:
    """Characters made of one: of the pattern's length where it is plain, of one character or of none where it is an expression."""
    kind, text = _pattern(step)
    length = len(step["content"])
    if kind == "String":
        return max(1.0, length / len(text))
    return max(1.0, length + (1 if text.startswith("(?<=") else 0))


def _short(*keys: str) -> Callable[[Mapping[str, Any], str], None]:
    """A check that strings are a few characters long."""

    def check_strings(step: Mapping[str, Any], name: str) -> None:
        for key in keys:
            value = step.get(key, "")
            if not isinstance(value, str) or len(value) > _MAX_AFFIX:
                raise UnsafeCheckpoint(
                    f"{name} has a {step['type']} whose {key} is longer than {_MAX_AFFIX} characters"
                )

    return check_strings


def _check_charsmap(step: Mapping[str, Any], name: str) -> None:
    """SentencePiece's map of characters: a trie, then what characters become, each ended by a zero byte."""
    try:
        content = base64.b64decode(step["precompiled_charsmap"] or "", validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise NotACheckpoint(f"{name} has a map of characters that cannot be read") from error
    if not content:
        return
    trie = int.from_bytes(content[:4], "little")
    if trie % 4 or 4 + trie > len(content):
        raise NotACheckpoint(f"{name} has a map of characters that has been cut")
    if max(map(len, content[4 + trie :].split(b"\0"))) > _MAX_MAPPED_BYTES:
        raise UnsafeCheckpoint(f"{name} maps a character to more than {_MAX_MAPPED_BYTES} bytes")


def _check_template(step: Mapping[str, Any], name: str) -> None:
    for key in ("single", "pair"):
        pieces = step.get(key)
        if not isinstance(pieces, list) or len(pieces) > _MAX_PIECES:
            raise UnsafeCheckpoint(f"{name} has a TemplateProcessing of more than {_MAX_PIECES} pieces")
        texts = [piece for piece in pieces if isinstance(piece, dict) and "Sequence" in piece]
        if len(texts) > (1 if key == "single" else 2):
            raise UnsafeCheckpoint(f"{name} has a TemplateProcessing that repeats the text")
    tokens = step.get("special_tokens")
    ids = (
        [len(token.get("ids", ())) for token in tokens.values() if isinstance(token, dict)]
        if isinstance(tokens, dict)
        else []
    )
    if sum(ids) > _MAX_PIECES * _MAX_PIECES or max(ids, default=0) > _MAX_PIECES:
        raise UnsafeCheckpoint(
            f"{name} has a TemplateProcessing that adds more than {_MAX_PIECES} tokens in one place"
        )


def _check_strip(step: Mapping[str, Any], name: str) -> None:
    for key in ("start", "stop"):
        value = step.get(key, 0)
        if not isinstance(value, int) or not 0 <= value <= _MAX_AFFIX:
            raise UnsafeCheckpoint(f"{name} has a Strip of more than {_MAX_AFFIX} characters")


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "Replace": _short("content"),
    "Prepend": _short("prepend"),
    "Metaspace": _short("replacement", "str_rep"),
    "WordPiece": _short("prefix"),
    "BPEDecoder": _short("suffix"),
    "CharDelimiterSplit": _short("delimiter"),
    "Precompiled": _check_charsmap,
    "TemplateProcessing": _check_template,
    "Strip": _check_strip,
}
"""What else is asked of a step, by its type."""
