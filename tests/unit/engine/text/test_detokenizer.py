"""Streams joined are the text of the whole, for every kind of tokenizer and any ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.text.conftest import KINDS, TEXTS
from trine.engine.text import detokenizer
from trine.engine.text.detokenizer import REPLACEMENT, Detokenizer
from trine.errors import ArtifactCorrupt, Bug

IDS = st.lists(st.integers(0, 10_000), max_size=40)


def ids_of(tokenizer: tokenizers.Tokenizer, *tokens: str) -> list[int]:
    ids = [tokenizer.token_to_id(token) for token in tokens]
    assert None not in ids
    return [token for token in ids if token is not None]


def pushes(detok: Detokenizer, ids: Sequence[int]) -> list[str]:
    stream = detok.stream()
    return [*(stream.push(token) for token in ids), stream.finish()]


@pytest.fixture(scope="session", params=KINDS)
def kind(
    request: pytest.FixtureRequest, path_of: Callable[[str], Path]
) -> tuple[tokenizers.Tokenizer, Detokenizer]:
    path = path_of(request.param)
    return tokenizers.Tokenizer.from_file(str(path)), Detokenizer(path)


@given(draws=IDS)
@settings(max_examples=300, deadline=None)
def test_random_ids_join_to_the_whole(
    kind: tuple[tokenizers.Tokenizer, Detokenizer], draws: list[int]
) -> None:
    tokenizer, detok = kind
    ids = [draw % tokenizer.get_vocab_size() for draw in draws]
    pieces = pushes(detok, ids)
    assert "".join(pieces) == detok.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True)


@given(draws=IDS)
@settings(max_examples=300, deadline=None)
def test_any_bytes_join_to_the_whole(path_of: Callable[[str], Path], draws: list[int]) -> None:
    """Byte tokens only, beside one letter and one special token: mostly broken UTF-8."""
    for kind, names in (
        ("byte_fallback", [*(f"<0x{value:02X}>" for value in range(0x7E, 0xF6)), "a", "</s>"]),
        ("byte_level", [*tokenizers.pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"]),
    ):
        path = path_of(kind)
        tokenizer, detok = tokenizers.Tokenizer.from_file(str(path)), Detokenizer(path)
        ids = ids_of(tokenizer, *(names[draw % len(names)] for draw in draws))
        assert "".join(pushes(detok, ids)) == detok.decode(ids)


def test_real_texts_are_never_pushed_broken(kind: tuple[tokenizers.Tokenizer, Detokenizer]) -> None:
    tokenizer, detok = kind
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        pieces = pushes(detok, ids)
        assert "".join(pieces) == detok.decode(ids)
        assert not any(REPLACEMENT in piece for piece in pieces)
        assert sum(1 for piece in pieces if piece) > 5, "it is streamed, not told at the end"


def test_half_a_character_waits_and_is_flushed(path_of: Callable[[str], Path]) -> None:
    detok = Detokenizer(path_of("byte_level"))
    tokenizer = tokenizers.Tokenizer.from_file(str(path_of("byte_level")))
    ids = ids_of(tokenizer, "a", "ð", "Ł")  # after the letter the first two of an emoji's four bytes
    stream = detok.stream()
    assert [stream.push(token) for token in ids] == ["a", "", ""]
    assert stream.finish() == REPLACEMENT
    assert detok.decode(ids) == f"a{REPLACEMENT}"


def test_special_tokens_have_no_text(path_of: Callable[[str], Path]) -> None:
    detok = Detokenizer(path_of("unigram"))
    tokenizer = tokenizers.Tokenizer.from_file(str(path_of("unigram")))
    ids = [0, *tokenizer.encode("the fox").ids, 2]
    assert "".join(pushes(detok, ids)) == "the fox"


def test_a_run_of_bytes_is_pushed_when_it_is_over(path_of: Callable[[str], Path]) -> None:
    """A wrong byte after a whole character would change how the character reads."""
    tokenizer = tokenizers.Tokenizer.from_file(str(path_of("byte_fallback")))
    detok = Detokenizer(path_of("byte_fallback"))
    euro = ids_of(tokenizer, *(f"<0x{value:02X}>" for value in "€".encode()))
    (letter,) = ids_of(tokenizer, "a")
    assert pushes(detok, [letter, *euro, letter]) == ["a", "", "", "", "€a", ""]
    assert pushes(detok, [letter, *euro, euro[0], letter])[-2:] == [f"{REPLACEMENT * 4}a", ""]


def test_a_tokens_own_text_is_what_it_adds(kind: tuple[tokenizers.Tokenizer, Detokenizer]) -> None:
    tokenizer, detok = kind
    ids = tokenizer.encode("the quick brown fox", add_special_tokens=False).ids
    assert "".join(detok.token_text(token) for token in ids).strip() == "the quick brown fox"


@pytest.mark.parametrize(
    ("name", "token", "text"),
    [
        ("byte_level", "Ġ", " "),
        ("byte_level", "ð", REPLACEMENT),
        ("byte_level", "<|endoftext|>", "<|endoftext|>"),
        ("word_piece", "the", " the"),
        ("word_piece", "##e", "e"),
        ("word_piece", "[SEP]", " [SEP]"),
        ("unigram", "▁", " "),
        ("unigram", "</s>", "</s>"),
        ("byte_fallback", "▁a", " a"),
        ("byte_fallback", "<0x41>", "A"),
        ("byte_fallback", "<0xE6>", REPLACEMENT),
    ],
)
def test_the_text_of_one_token(path_of: Callable[[str], Path], name: str, token: str, text: str) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(path_of(name)))
    (number,) = ids_of(tokenizer, token)
    assert Detokenizer(path_of(name)).token_text(number) == text


class Stumbling:
    """A DecodeStream that fails at one step, as the library does on an invalid prefix."""

    steps = 0
    fails_at = 0

    def __init__(self, ids: Sequence[int] = (), skip_special_tokens: bool = False) -> None:
        self._real = tokenizers.decoders.DecodeStream(ids, skip_special_tokens=skip_special_tokens)

    def step(self, tokenizer: tokenizers.Tokenizer, ids: list[int]) -> str | None:
        Stumbling.steps += 1
        if Stumbling.steps == Stumbling.fails_at:
            raise ValueError("Invalid prefix encountered")
        return self._real.step(tokenizer, ids)


@pytest.mark.parametrize("fails_at", range(1, 17))
def test_an_invalid_prefix_costs_nothing(
    path_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(detokenizer, "DecodeStream", Stumbling)
    monkeypatch.setattr(Stumbling, "steps", 0)
    monkeypatch.setattr(Stumbling, "fails_at", fails_at)
    tokenizer = tokenizers.Tokenizer.from_file(str(path_of("byte_level")))
    text = "naïve 日本 👍🏽 groß"
    pieces = pushes(Detokenizer(path_of("byte_level")), tokenizer.encode(text).ids)
    assert "".join(pieces) == text
    assert not any(REPLACEMENT in piece for piece in pieces)
    assert Stumbling.steps >= fails_at


def test_ids_that_are_none_are_a_bug(path_of: Callable[[str], Path]) -> None:
    detok = Detokenizer(path_of("byte_level"))
    with pytest.raises(Bug, match=r"^the tokens cannot be turned into text$"):
        detok.decode([-1])


def test_a_panic_of_the_library_is_a_bug_in_our_words(tmp_path: Path) -> None:
    """It derives from BaseException; unhandled it would end the engine."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, "a"))
    tokenizer.decoder = tokenizers.decoders.Strip("a", 50, 50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    detok = Detokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(Bug, match=r"^the tokens cannot be turned into text$"):
        detok.decode([0])
    with pytest.raises(Bug, match=r"^the tokens cannot be turned into text$"):
        detok.stream().push(0)


def test_a_broken_file_is_corrupt_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Nothing"}}')
    for path in (tmp_path / "tokenizer.json", tmp_path / "absent.json"):
        with pytest.raises(ArtifactCorrupt, match=r"^the tokenizer cannot be loaded$"):
            Detokenizer(path)
