# ruff: noqa: RUF001 - that the characters look alike is the point
"""tokenizer.json files against the tokenizers that they were made from, on random strings of many scripts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.unit.export import tiny
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import UnsupportedArchitecture
from trine.export import probes, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

ALPHABETS: tuple[Sequence[str], ...] = (
    "abcdefghijklmnopqrstuvwxyz ABC .,!?'",
    "éèàçœÉÀŒïîôûüñßżðığ ae",
    "0123456789.,%$€ ½①№ﬁ™",
    "日本語中文漢字かなカナ한국어 ，。",
    "Привет мир ёж Ξεσκεπάζω",
    "שלום عليكم مرحبا हिन्दी ไทย",
    ("a", "e\u0301", "c\u0327", "o\u0308", "e\u0302\u0301", "k", " ", "\u00a0\u0301", "½\ufe0f"),
    "😀👍🏽🇫🇷👨\u200d👩\u200d👧❤️ ok",
    "  \t\n\u00a0\u3000\u200b\r ab",
    "ＡＢＣａｂｃ１２３ｶﾅ",
    "\x00\x01\x7f\u0085\u00ad\ufeff x",
    "▁_<>/s[]# u",
)
"""Combining marks stand in canonical order, as text has them; the converter says what it does with others."""


def strings(count: int) -> list[str]:
    draw = random.Random(7)
    found = ["", " ", "</s>", "a </s> b", "<unk>", "▁", "▁▁a ▁ b", ">>", "<<", "𝒜", "a" * 300]
    while len(found) < count:
        if draw.random() < 0.4:
            words = draw.choice(tiny.ENGLISH + tiny.FRENCH).split()
            found.append(" ".join(draw.sample(words, len(words))) + draw.choice(("", " ", "…", "  !")))
        else:
            parts = draw.choices(ALPHABETS, k=draw.randint(1, 3))
            found.append(" ".join("".join(draw.choices(part, k=draw.randint(1, 12))) for part in parts))
    return found


@pytest.fixture(params=["bert", "gpt2", "marian"], scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The original tokenizer and the folder with its tokenizer.json."""
    root = tmp_path_factory.mktemp(request.param)
    folder = getattr(tiny, request.param)(root / "checkpoint")
    original = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.write(original, len(original), root)
    return original, root


def test_ids_are_the_originals(pair: tuple[Any, Path]) -> None:
    original, root = pair
    converted = Tokenizer(root / tokenizer.SOURCE, len(original), tokenizer.unknown_id(original))
    texts = [*strings(1500), *probes.PLAIN]
    ours, theirs = converted.encode(texts), [original(text, verbose=False).input_ids for text in texts]
    different = [text for text, a, b in zip(texts, ours, theirs, strict=True) if a != b]
    assert different == []


def test_text_is_the_originals(pair: tuple[Any, Path]) -> None:
    original, root = pair
    name = tokenizer.TARGET if (root / tokenizer.TARGET).exists() else tokenizer.SOURCE
    converted, draw = Detokenizer(root / name), random.Random(3)
    for _ in range(500):
        ids = [draw.randrange(len(original)) for _ in range(draw.randint(1, 12))]
        expected = original.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert converted.decode(ids).strip() == expected.strip()


def test_nothing_is_cut_or_padded(pair: tuple[Any, Path]) -> None:
    """Also where the checkpoint's own tokenizer.json says so: an engine refuses what is too long."""
    original, root = pair
    converted = Tokenizer(root / tokenizer.SOURCE, len(original), tokenizer.unknown_id(original))
    long, short = converted.encode(["the house " * 200, "the house"])
    assert len(long) > 200 > len(short)


def test_truncation_of_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    original = AutoTokenizer.from_pretrained(tiny.gpt2(tmp_path / "gpt2"), local_files_only=True)
    original.backend_tokenizer.enable_truncation(4)
    original.backend_tokenizer.enable_padding(length=9)
    tokenizer.write(original, len(original), tmp_path)
    (ids,) = Tokenizer(tmp_path / tokenizer.SOURCE, len(original), None).encode(
        ["I saw the small green house"]
    )
    assert len(ids) not in (4, 9)
    assert original.backend_tokenizer.truncation is not None  # the reference is left as it was


def test_a_piece_that_the_vocabulary_lacks_is_unknown(tmp_path: Path) -> None:
    original = tiny.marian_tokenizer(tmp_path)
    missing = [
        piece
        for index in range(2, original.spm_source.get_piece_size())
        if (piece := original.spm_source.id_to_piece(index)) not in original.encoder
    ]
    padded = len(original) + 5  # as checkpoints whose embedding is longer than their vocabulary
    tokenizer.write(original, padded, tmp_path)
    converted = Tokenizer(tmp_path / tokenizer.SOURCE, padded, original.unk_token_id)
    for piece in missing:
        text = piece.replace("▁", " ")
        assert converted.encode([text]) == [original(text).input_ids]


def test_a_tokenizer_without_a_converter_is_refused(tmp_path: Path) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(UnsupportedArchitecture):
        tokenizer.write(Slow(), 10, tmp_path)
