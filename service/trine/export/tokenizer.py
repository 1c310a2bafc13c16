"""The tokenizer.json files of an artifact, from whatever tokenizer a checkpoint has. The export process."""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Tokenizer
from transformers import M2M100Tokenizer, MarianTokenizer, PreTrainedTokenizerBase

from trine.errors import UnsupportedArchitecture
from trine.export import m2m100_tokenizer, marian_tokenizer

SOURCE = "tokenizer.json"
TARGET = "target_tokenizer.json"

_LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")
"""A token as mBART's "fr_XX" and NLLB's "fra_Latn"."""
_TOLD_BY_TOKENS = ("MBartForConditionalGeneration", "M2M100ForConditionalGeneration")


def write(tokenizer: PreTrainedTokenizerBase, vocab_size: int, folder: Path) -> None:
    """Write tokenizer.json, and target_tokenizer.json where outputs are read by another one than inputs.

    Neither cuts nor pads: an engine refuses what is too long. Raises UnsupportedArchitecture for a tokenizer that has no such
    form and no converter.
    """
    if isinstance(tokenizer, MarianTokenizer):
        marian_tokenizer.source(tokenizer, vocab_size).save(str(folder / SOURCE))
        marian_tokenizer.target(tokenizer).save(str(folder / TARGET))
        return
    if isinstance(tokenizer, M2M100Tokenizer):
        m2m100_tokenizer.source(tokenizer, vocab_size).save(str(folder / SOURCE))
        m2m100_tokenizer.target(tokenizer, vocab_size).save(str(folder / TARGET))
        return
    if not tokenizer.is_fast:
        raise UnsupportedArchitecture("the checkpoint's tokenizer cannot be converted to tokenizer.json")
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(folder / SOURCE))


def unknown_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What ids beyond the vocabulary are read as; only a converted tokenizer makes such ids."""
    converted = isinstance(tokenizer, MarianTokenizer | M2M100Tokenizer)
    return tokenizer.unk_token_id if converted else None


def languages(tokenizer: PreTrainedTokenizerBase, architecture: str, vocab_size: int) -> dict[str, int]:
    """Code to token id, as the checkpoint's own tokenizer spells the codes; empty where languages are not told by tokens."""
    codes: dict[str, int] = {}
    if isinstance(tokenizer, MarianTokenizer):
        codes = {token[2:-2]: tokenizer.encoder[token] for token in tokenizer.supported_language_codes}
    elif isinstance(tokenizer, M2M100Tokenizer):
        codes = tokenizer.lang_code_to_id
    elif architecture in _TOLD_BY_TOKENS:
        found = [token for token in tokenizer.all_special_tokens if _LANGUAGE.fullmatch(token)]
        codes = dict(zip(found, tokenizer.convert_tokens_to_ids(found), strict=True))
    return {code: token for code, token in codes.items() if token < vocab_size}
