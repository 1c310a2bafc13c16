r"""The regular expressions that a tokenizer may search texts with. Front and export process.

The engine that tokenizers uses goes back and tries again, so an expression from a stranger can take for ever with a short text. None
is analyzed here: an expression is one of those that well-known tokenizers have, or one that our own converters write, or it is refused.

`LINEAR` are three that take quadratic time (65,536 spaces before a letter: 43 s with ` +$`), each with one that finds the same in one pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_CHARACTERS = 1 << 20
"""Of an expression of our own converters, which lists every character that a vocabulary knows."""

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS_TO_ENDS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_ENDS_WITH_SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

PRESETS = frozenset(
    {
        # GPT-2
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        # GPT-4's cl100k, Llama 3; Qwen2 and Qwen3; Qwen3.5
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _WORDS_TO_ENDS,
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _WORDS_TO_ENDS,
        _CONTRACTIONS
        + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        # Mistral's tekken; GPT-4o's o200k
        f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*" + r"|\p{N}" + _ENDS_WITH_SLASH,
        f"{_BEFORE}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_BEFORE}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
        + r"|\p{N}{1,3}"
        + _ENDS_WITH_SLASH,
        # CLIP, with and without its special tokens
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        # normalizers of SentencePiece's kin: T5, ALBERT, CamemBERT, mBART, Pegasus, DeBERTa
        r" {2,}",
        r"\s{2,}|[\n\r\t]",
        r"\s{2,}",
        r"[\n\r\t]",
        r"[\r\n]",
        r"\s+",
        r"\s",
        r"\n",
        r"\p{N}",
        r"\p{N}{1,3}",
        r"\d",
        r"\A▁",
        # Mistral's and Llama's spaces in conversions
        r"^ ",
        r"^ +|(?<! ) +$",
        r"\A +|(?<! ) +\z",
        r"(?<! ) +$",
        # Marian's language codes, as export.marian_tokenizer writes them
        r"[\x{f0000}-\x{ffffd}]",
        r"\A>>[\s\S]*?<<",
        r"\A▁(?=[\x{f0000}-\x{ffffd}])",
    }
)
LINEAR: Mapping[str, str] = {
    r"^ +| +$": r"^ +|(?<! ) +$",
    r"\A +| +\z": r"\A +|(?<! ) +\z",
    r" +$": r"(?<! ) +$",
}
"""Expressions of well-known tokenizers, and what the export writes in their place."""

_CHARACTER = r"\\x\{[0-9a-f]{1,6}\}"
_PLAIN = r"(?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])"
_UNSEEN = rf"\[\^ (?:{_CHARACTER})+\]"
_WRITTEN = (
    re.compile(rf"\\A{_PLAIN}+"),  # a language code at the beginning of a text
    re.compile(
        rf"\(\?<=\[(?:{_CHARACTER})+\]\)\(\?=\[\\p\{{M\}}\\x\{{200d\}}\]\)"
    ),  # a mark behind a mapped character
    re.compile(  # a run of characters that no piece has, but for whole entries of the vocabulary
        rf"\(\?<!(?P<unseen>{_UNSEEN})\)(?:\(\?!\(\?:{_PLAIN}+(?:\|{_PLAIN}+)*\)\(\?!(?P=unseen)\)\))?(?P=unseen)\{{2,\}}"
    ),
    re.compile(
        rf"{_PLAIN}+(?:\|{_PLAIN}+)*"
    ),  # plain words, as transformers' converter of user-defined pieces writes them
)
"""What our own converters and transformers' make, by its form."""
_ANCHORED = re.compile(rf"\\A{_PLAIN}+")


def known(pattern: str, *, quadratic: bool) -> bool:
    """Whether texts may be searched with it. `quadratic`: also those of `LINEAR`, which the export replaces."""
    if pattern in PRESETS or (quadratic and pattern in LINEAR):
        return True
    if len(pattern) > MAX_CHARACTERS:
        return False
    return any(form.fullmatch(pattern) for form in _WRITTEN)


def found_once(pattern: str) -> bool:
    """Whether it is a plain word at the beginning of a text, which cannot be found twice."""
    return _ANCHORED.fullmatch(pattern) is not None
