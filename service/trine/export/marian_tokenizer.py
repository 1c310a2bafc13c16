"""Marian's two SentencePiece models and their joint vocab.json as two tokenizer.json. The export process.

MarianTokenizer cuts text with source.spm and looks the pieces up in vocab.json, whose ids are not SentencePiece's: see
`sentencepiece_model`.

A text may begin with the code of its target language, as `>>fra<<`: one token, taken off before the rest is cut, and <unk> where
vocab.json lacks it. Within a text it is text.

Checked against MarianTokenizer in tests/unit/export and by every parity gate.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, processors
from tokenizers.models import Unigram
from transformers import MarianTokenizer

from trine.export.sentencepiece_model import NOWHERE, SPACE, SentencePieceModel, unreachable

_SPECIAL = ("</s>", "<unk>", "<pad>")
_FIRST_CODE, _LAST_CODE = 0xF0000, 0xFFFFD
"""Private-use characters that stand for language codes; the last one for those that vocab.json lacks."""
_CODE = f"[\\x{{{_FIRST_CODE:x}}}-\\x{{{_LAST_CODE:x}}}]"


def source(tokenizer: MarianTokenizer, vocab_size: int) -> Tokenizer:
    """Text to ids as `tokenizer(text).input_ids`; ids at or beyond `vocab_size` mean <unk>."""
    vocab: dict[str, int] = tokenizer.encoder
    pieces = SentencePieceModel(tokenizer.spm_source, vocab)
    codes = {code: chr(_FIRST_CODE + place) for place, code in enumerate(tokenizer.supported_language_codes)}
    converted = Tokenizer(pieces.model(vocab_size, {token: token for token in _SPECIAL} | codes))
    converted.normalizer = _normalizer(pieces, codes)
    converted.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocab["</s>"])]
    )
    converted.add_special_tokens(_special_tokens(vocab))
    return converted


def target(tokenizer: MarianTokenizer) -> Tokenizer:
    """Ids to text as `tokenizer.decode`, but for spaces at the ends, which MarianTokenizer strips."""
    names: dict[int, str] = tokenizer.decoder
    entries = [(names.get(index, unreachable(index)), 0.0) for index in range(max(names) + 1)]
    converted = Tokenizer(Unigram(entries, unk_id=tokenizer.unk_token_id, byte_fallback=False))
    converted.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    converted.add_special_tokens(_special_tokens(names.values()))
    return converted


def _normalizer(pieces: SentencePieceModel, codes: Mapping[str, str]) -> normalizers.Normalizer:
    """The code at the very beginning becomes its one character; the rest of the text is then one of its own."""
    separator = " " if pieces.adds_space else ""
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(Regex(_CODE), NOWHERE)
    ]  # a text cannot name a code by its character
    steps += [
        normalizers.Replace(Regex(f"\\A{re.escape(code)}"), mark + separator) for code, mark in codes.items()
    ]
    steps.append(normalizers.Replace(Regex(r"\A>>[\s\S]*?<<"), chr(_LAST_CODE) + separator))
    steps += pieces.normalizers()
    if pieces.adds_space:
        steps.append(normalizers.Replace(Regex(f"\\A{SPACE}(?={_CODE})"), ""))
    return normalizers.Sequence(steps)


def _special_tokens(vocab: Collection[str]) -> list[AddedToken]:
    return [AddedToken(token, normalized=False, special=True) for token in _SPECIAL if token in vocab]
