"""Encoding as the library does it, without cutting and padding, and the library's failures in our words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from tests.unit.engine.text.conftest import KINDS, TEXTS
from trine.engine.text.boundary import answered_by
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import ArtifactCorrupt, InvalidInput, NotLive

NO_SUCH_TOKEN = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "X", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_librarys(path_of: Callable[[str], Path], kind: str) -> None:
    reference = tokenizers.Tokenizer.from_file(str(path_of(kind)))
    ours = Tokenizer(path_of(kind), reference.get_vocab_size(), None)
    texts = [*TEXTS, "", " ", "a\x00b", "[SEP] </s> <|endoftext|>", TEXTS[2] * 200]
    assert ours.encode(texts) == [reference.encode(text).ids for text in texts]
    assert ours.encode([]) == []
    bare = [reference.encode(text, add_special_tokens=False).ids for text in texts]
    assert ours.encode(texts, add_special_tokens=False) == bare


def test_the_files_own_truncation_and_padding_are_off(path_of: Callable[[str], Path], tmp_path: Path) -> None:
    reference = tokenizers.Tokenizer.from_file(str(path_of("word_piece")))
    expected = [reference.encode(text).ids for text in TEXTS]
    reference.enable_truncation(5)
    reference.enable_padding(length=300)
    reference.save(str(tmp_path / "cut.json"))
    assert Tokenizer(tmp_path / "cut.json", 10_000, None).encode(TEXTS) == expected


def test_ids_beyond_the_vocabulary_are_unknown(path_of: Callable[[str], Path]) -> None:
    path = path_of("unigram")
    whole = Tokenizer(path, 10_000, None).encode(TEXTS)
    cut = Tokenizer(path, 100, 1).encode(TEXTS)
    assert cut == [[token if token < 100 else 1 for token in ids] for ids in whole]
    assert cut != whole


def test_ids_beyond_the_vocabulary_without_an_unknown_token(path_of: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer(path_of("byte_level"), 257, None)
    assert tokenizer.encode(["a"])
    with pytest.raises(InvalidInput, match="does not know") as raised:
        tokenizer.encode(["a", "the quick brown fox"])
    assert raised.value.field == "inputs[1].text"


def test_what_is_no_text_is_refused_in_our_words(path_of: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer(path_of("byte_level"), 10_000, None)
    with pytest.raises(InvalidInput, match=r"^the text cannot be tokenized$"):
        tokenizer.encode(["half a surrogate \ud83d"])


def test_a_broken_file_is_corrupt_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    for path in (tmp_path / "tokenizer.json", tmp_path / "absent.json"):
        with pytest.raises(ArtifactCorrupt, match=r"^the tokenizer cannot be loaded$"):
            Tokenizer(path, 10, None)


def test_a_panic_of_the_library_is_an_error_of_ours(tmp_path: Path) -> None:
    """It derives from BaseException; unhandled it would end the engine."""
    layout = json.loads(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a")).to_str())
    for part, harm, kind in (
        ("post_processor", NO_SUCH_TOKEN, InvalidInput),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}, ArtifactCorrupt),
    ):
        path = tmp_path / f"{part}.json"
        path.write_text(json.dumps(layout | {part: harm}))
        with pytest.raises(
            kind, match=r"^the (text cannot be tokenized|tokenizer cannot be loaded)$"
        ) as raised:
            Tokenizer(path, 10, None).encode(["a"])
        assert type(raised.value.__cause__).__name__ == "PanicException"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, NotLive("as it is")]
)
def test_signals_and_our_own_errors_pass(error: BaseException | type[BaseException]) -> None:
    with pytest.raises(error if isinstance(error, type) else NotLive), answered_by(ArtifactCorrupt, "mine"):
        raise error


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_of_the_tokens_is_the_librarys(path_of: Callable[[str], Path], kind: str) -> None:
    reference = tokenizers.Tokenizer.from_file(str(path_of(kind)))
    ours = Tokenizer(path_of(kind), reference.get_vocab_size(), None)
    texts = [*TEXTS, "", "a\x00b", "[SEP] </s>"]
    for text, found in zip(texts, ours.encode_fully(texts), strict=True):
        expected = reference.encode(text)
        assert (found.ids, found.types, found.offsets) == (expected.ids, expected.type_ids, expected.offsets)
        assert [part is None for part in found.parts] == [bool(one) for one in expected.special_tokens_mask]
    assert [one.ids for one in ours.encode_fully(texts)] == ours.encode(texts)


def test_pairs(tmp_path: Path, path_of: Callable[[str], Path]) -> None:
    reference = tokenizers.Tokenizer.from_file(str(path_of("word_piece")))
    reference.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    reference.save(str(tmp_path / "pairs.json"))
    ours = Tokenizer(tmp_path / "pairs.json", 1000, None)
    pair, single = ours.encode_fully(["a b", "a"], ["and", None])
    (a, b), (word,) = (reference.encode(text, add_special_tokens=False).ids for text in ("a b", "and"))
    assert (pair.ids, pair.types) == ([2, a, b, 3, word, 3], [0, 0, 0, 0, 1, 1])
    assert pair.parts == [None, 0, 0, None, 1, None]
    assert pair.offsets[4] == (0, 3), "places of the second text are its own"
    assert (single.ids, single.types) == ([2, a, 3], [0, 0, 0])


def test_tokens_beyond_the_vocabulary_in_full(path_of: Callable[[str], Path]) -> None:
    path = path_of("unigram")
    (cut,) = Tokenizer(path, 100, 1).encode_fully([TEXTS[0]])
    assert cut.ids == Tokenizer(path, 100, 1).encode([TEXTS[0]])[0]
    with pytest.raises(InvalidInput, match="does not know") as raised:
        Tokenizer(path, 100, None).encode_fully(["", TEXTS[0]])
    assert raised.value.field == "inputs[1].text"
