"""The tokenizer.json files of an artifact, from whatever tokenizer a checkpoint has. The export process."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import M2M100Tokenizer, MarianTokenizer, PreTrainedTokenizerBase

from trine.errors import NotACheckpoint, UnsupportedArchitecture
from trine.export import m2m100_tokenizer, marian_tokenizer, trial
from trine.export.conditions import Told
from trine.export.trial import GiveUp
from trine.registry.rules import documents, patterns, tokenizer_json, vocabularies

SOURCE = "tokenizer.json"
TARGET = "target_tokenizer.json"

_LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")
"""A token as mBART's "fr_XX" and NLLB's "fra_Latn"."""
_WORDS = ("vocab.json", "target_vocab.json", "added_tokens.json")
_TOLD_BY_TOKENS = ("MBartForConditionalGeneration", "M2M100ForConditionalGeneration")


def check(folder: Path, told: Told, give_up: GiveUp) -> None:
    """A checkpoint's own tokenizer, before transformers reads it. Raises UnsafeCheckpoint and NotACheckpoint, or ends the process."""
    for name in _WORDS:
        if (folder / name).is_file():
            words = documents.read(folder / name, tokenizer_json.MAX_BYTES)
            if not isinstance(words, dict):
                raise NotACheckpoint(f"{name} is not a JSON object")
            vocabularies.check_words(words, name)
    if (folder / SOURCE).is_file():
        told("read", 0.1, f"trying {SOURCE}")
        trial.check(folder / SOURCE, give_up, quadratic=True)


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
    backend = Tokenizer.from_str(_in_one_pass(tokenizer.backend_tokenizer.to_str()))
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(folder / SOURCE))


def _in_one_pass(text: str) -> str:
    """The same tokenizer without the expressions that take quadratic time."""
    if not any(json.dumps(slow, ensure_ascii=False) in text for slow in patterns.LINEAR):
        return text
    return json.dumps(_replaced(json.loads(text)), ensure_ascii=False)


def _replaced(value: Any) -> Any:
    if isinstance(value, list):
        return [_replaced(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Regex"}:
        return {"Regex": patterns.LINEAR.get(value["Regex"], value["Regex"])}
    return {key: each if key == "vocab" else _replaced(each) for key, each in value.items()}


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
