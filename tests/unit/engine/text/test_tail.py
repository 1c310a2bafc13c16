"""Stop strings over every kind of tokenizer: what is told is the text up to the first of them, and never a part of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.text.conftest import KINDS, TEXTS
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tail import Tail

Kind = tuple[tokenizers.Tokenizer, Detokenizer]


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest, path_of: Callable[[str], Path]) -> Kind:
    path = path_of(request.param)
    return tokenizers.Tokenizer.from_file(str(path)), Detokenizer(path)


def run(
    detok: Detokenizer, ids: Sequence[int], stops: Sequence[str], exempt: int = 0
) -> tuple[list[str], int, str | None]:
    """The pieces, the tokens that were needed, and the stop string."""
    tail = Tail(detok.stream(), stops, exempt)
    pieces: list[str] = []
    for count, token in enumerate(ids, 1):
        pieces.append(tail.push(token))
        if tail.matched is not None:
            return pieces, count, tail.matched
    return [*pieces, tail.finish()], len(ids), tail.matched


def first(text: str, stops: Sequence[str], start: int = 0) -> int:
    """Where the first stop string begins, or the text's length."""
    return min((place for stop in stops if (place := text.find(stop, start)) >= 0), default=len(text))


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_ids_end_at_the_first_stop_string(kind: Kind, data: st.DataObject) -> None:
    tokenizer, detok = kind
    draws = data.draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=40))
    ids = [draw % tokenizer.get_vocab_size() for draw in draws]
    stops = data.draw(stops_of(detok.decode(ids)))
    pieces, count, matched = run(detok, ids, stops)
    told, read = "".join(pieces), detok.decode(ids[:count])
    assert told == read[: first(read, stops)]
    assert (matched is not None) == any(stop in read for stop in stops)
    if matched is not None:
        assert read.startswith(matched, len(told))
    if len(stops) == 1:
        whole = detok.decode(ids)
        assert told == whole[: first(whole, stops)], "the tokens that were not waited for change nothing"
    assert_nothing_leaks(detok, ids, pieces, stops)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_real_texts_end_at_the_first_stop_string(kind: Kind, data: st.DataObject) -> None:
    """Emoji and Chinese, most of whose characters are several tokens."""
    tokenizer, detok = kind
    ids = tokenizer.encode(data.draw(st.sampled_from(TEXTS))).ids
    stops = data.draw(stops_of(detok.decode(ids)))
    pieces, count, _ = run(detok, ids, stops)
    read = detok.decode(ids[:count])
    assert "".join(pieces) == read[: first(read, stops)]
    assert_nothing_leaks(detok, ids, pieces, stops)


@st.composite
def stops_of(draw: st.DrawFn, text: str) -> list[str]:
    """Parts of the text, parts with a changed end (so that their beginnings come), and what is not in it."""
    stops = draw(st.lists(st.sampled_from(["zzz", "\n\n", "é", "�"]), max_size=1))
    for _ in range(draw(st.integers(0 if stops else 1, 3))):
        begin = draw(st.integers(0, max(0, len(text) - 1)))
        part = text[begin : begin + draw(st.integers(1, 12))] or "x"
        stops.append(part if draw(st.booleans()) else f"{part}~")
    return stops


def assert_nothing_leaks(
    detok: Detokenizer, ids: Sequence[int], pieces: Sequence[str], stops: Sequence[str]
) -> None:
    """After every piece but the last: nothing that was told can be a part of a stop string that is still to come."""
    stream, certain, told = detok.stream(), "", ""
    for token, piece in zip(ids, pieces[:-1], strict=False):
        certain += stream.push(token)
        told += piece
        assert not any(stop.startswith(certain[start:]) for start in range(len(told)) for stop in stops)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_first_tokens_are_exempt(kind: Kind, data: st.DataObject) -> None:
    tokenizer, detok = kind
    ids = tokenizer.encode(data.draw(st.sampled_from(TEXTS))).ids
    exempt = data.draw(st.integers(0, len(ids)))
    stops = data.draw(stops_of(detok.decode(ids)))
    stream = detok.stream()
    free = len("".join(stream.push(token) for token in ids[:exempt]))
    pieces, count, _ = run(detok, ids, stops, exempt)
    read = detok.decode(ids[:count])
    expected = len(read) if count <= exempt else first(read, stops, free)
    assert "".join(pieces) == read[:expected]


def test_without_stop_strings_nothing_is_held(kind: Kind) -> None:
    tokenizer, detok = kind
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        stream = detok.stream()
        assert run(detok, ids, [])[0] == [*(stream.push(token) for token in ids), stream.finish()]


class Letters:
    """A stream whose tokens are characters; `late` is withheld until the finish."""

    def __init__(self, late: str = "") -> None:
        self._late = late

    def push(self, token: int) -> str:
        return chr(token)

    def finish(self) -> str:
        return self._late


def letters(text: str, *stops: str, late: str = "") -> tuple[list[str], str | None]:
    tail = Tail(Letters(late), stops)
    pieces = []
    for character in text:
        pieces.append(tail.push(ord(character)))
        if tail.matched is not None:
            return pieces, tail.matched
    return [*pieces, tail.finish()], tail.matched


def test_what_could_become_a_stop_string_waits() -> None:
    assert letters("abcd", "bcd") == (["a", "", "", ""], "bcd")
    assert letters("abce", "bcd") == (["a", "", "", "bce", ""], None)
    assert letters("abc", "bcd") == (["a", "", "", "bc"], None), "the end lets it go"


def test_a_beginning_within_a_beginning() -> None:
    assert letters("aaab", "aab") == (["", "", "a", ""], "aab")
    assert letters("ababac", "abac") == (["", "", "", "ab", "", ""], "abac")


def test_the_earliest_of_several_wins() -> None:
    assert letters("xab", "b", "ab") == (["x", "", ""], "ab")
    assert letters("xab", "ab", "abc") == (["x", "", ""], "ab")
    assert letters("abcd", "abcd", "c") == (["", "", "ab"], "c"), "it came first: nobody knew of the d"


def test_what_comes_at_the_very_end_counts() -> None:
    assert letters("a", "é", late="éb") == (["a", ""], "é")
    assert letters("ab", "bc", late="c!") == (["a", "", ""], "bc")
    assert letters("ab", "bc", late="d") == (["a", "", "bd"], None)


def test_after_a_stop_nothing_is_left() -> None:
    tail = Tail(Letters("late"), ["b"])
    assert [tail.push(ord("b")), tail.finish()] == ["", ""]


def test_sixteen_long_ones() -> None:
    stops = ["x" * 255 + chr(ord("a") + index) for index in range(16)]
    pieces, matched = letters("y" + "x" * 400 + "p", *stops)
    assert matched == stops[15]
    assert "".join(pieces) == "y" + "x" * 145
