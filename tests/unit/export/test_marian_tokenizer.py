"""Marian's converted tokenizer against the original: language codes of checkpoints with many targets, and odd texts."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import MarianTokenizer

    from tests.unit.export import tiny
    from trine.engine.text.detokenizer import Detokenizer
    from trine.engine.text.tokenizer import Tokenizer
    from trine.export import tokenizer as tokenizers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

CODES = (">>fra<<", ">>deu<<", ">>zh-Hans<<")


class Pair:
    def __init__(self, folder: Path) -> None:
        tiny.marian_tokenizer(folder)
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        vocab |= {code: len(vocab) + place for place, code in enumerate(CODES)}
        (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        self.original = MarianTokenizer(
            source_spm=str(folder / "source.spm"),
            target_spm=str(folder / "target.spm"),
            vocab=str(folder / "vocab.json"),
        )
        tokenizers.write(self.original, len(vocab), folder)
        unknown = tokenizers.unknown_id(self.original)
        self.converted = Tokenizer(folder / tokenizers.SOURCE, len(vocab), unknown)
        self.target = Detokenizer(folder / tokenizers.TARGET)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("multi-target"))


@pytest.mark.parametrize(
    "text",
    [
        ">>fra<< I saw the house.",
        ">>zh-Hans<< I saw the house.",
        ">>deu<<I saw",
        ">>fra<<",
        ">>fra<<  I saw",
        ">>fra<<\nI saw",
        ">>fra<< qqq",
        ">>fra<< >>deu<< I",
        ">>xyz<< I saw the house.",
        ">> a << b",
        ">>fra< I",
        " >>fra<< I saw",
        "I >>fra<< saw",
        "I saw >>xyz<< it",
        "\U000f0000 I saw",
    ],
)
def test_a_language_code_is_one_token_at_the_beginning_only(pair: Pair, text: str) -> None:
    assert pair.converted.encode([text]) == [pair.original(text).input_ids]


def test_each_code_is_its_own_token(pair: Pair) -> None:
    first = [ids[0] for ids in pair.converted.encode([f"{code} I saw" for code in CODES])]
    assert first == pair.original.convert_tokens_to_ids(list(CODES))
    assert len(set(first)) == len(CODES)


def test_random_texts_are_cut_alike(pair: Pair) -> None:
    draw = random.Random(3)
    parts = [*"abcdefgé .,>< \n😀世ｑ", ">>fra<<", "<<", "the ", " house", "saw", "  "]
    texts = ["".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(400)]
    assert pair.converted.encode(texts) == [pair.original(text).input_ids for text in texts]


def test_outputs_read_alike(pair: Pair) -> None:
    draw = random.Random(4)
    for _ in range(100):
        ids = [draw.randrange(len(pair.original)) for _ in range(8)]
        assert pair.target.decode(ids).strip() == pair.original.decode(ids, skip_special_tokens=True).strip()
