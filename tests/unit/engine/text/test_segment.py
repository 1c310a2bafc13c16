"""Where sentences end, and where they are divided."""

# ruff: noqa: RUF001 - other scripts' punctuation

from __future__ import annotations

import random

import pytest

from trine.engine.text.segment import Span, divide, sentences


def cut(text: str) -> list[str]:
    return [text[begin:end] for begin, end in sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Good morning."],
        ["Is it late?", "Yes!", "It is..."],
        ["Dr. Smith paid 3.14 dollars.", "He left."],
        ["It opens at 5 p.m. on weekdays.", "J. R. Smith and the U.S. Army came."],
        ['"Stop!" he said.', "She did."],
        ['He said "Go." (And I went.)', "¿Qué?", "«Rien.»", "Да."],
        ["See Fig. 3 and No. 5, e.g. on p. 7.", "No.", "The end."],
        ["Visit example.com or v1.2 now.", "Done"],
        ["Das kostet ca. 5 Euro, z.B. hier.", "Gut."],
        ["apples, pears etc. are fruit.", "Pears etc.", "They grow."],
        ["1. Wash it.", "2. Dry it."],
    ],
)
def test_latin(expected: list[str]) -> None:
    if expected[0].startswith("He said"):
        expected = ['He said "Go."', "(And I went.)", *expected[1:]]
    joined = "\n" if expected[0].startswith("1.") else " "
    assert cut(joined.join(expected)) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["你好。", "真的吗？！", "再见"],
        ["他说：“再见！”然后走了。", "“好。”", "“走吧。”"],
        ["「はい！」と言った。", "次。"],
        ["كيف حالك؟", "أنا بخير۔", "نعم"],
        ["यह वाक्य है।", "दूसरा वाक्य॥"],
    ],
)
def test_other_scripts_need_no_whitespace(expected: list[str]) -> None:
    assert cut("".join(expected)) == expected
    assert cut(" ".join(expected)) == expected


def test_line_breaks_end_sentences() -> None:
    assert cut(" A title \r\n\r\n- one\n- two, and\tthree\u2028four ") == [
        "A title",
        "- one",
        "- two, and\tthree",
        "four",
    ]
    assert cut("") == cut(" \n\t\u3000") == []


def test_places_are_code_points() -> None:
    assert list(sentences("  😀 a.\n\n b! ")) == [Span(2, 6), Span(9, 11)]


def test_nothing_but_whitespace_is_left_between_sentences() -> None:
    draw = random.Random(3)
    for _ in range(500):
        text = "".join(draw.choices('ab.B!?。！"”( \n…1,，', k=draw.randrange(40)))
        spans = list(sentences(text))
        ends = [0, *(span.end for span in spans)]
        begins = [*(span.begin for span in spans), len(text)]
        gaps = [text[end:begin] for end, begin in zip(ends, begins, strict=True)]
        assert all(not gap or gap.isspace() for gap in gaps), text
        assert all(text[begin:end] == text[begin:end].strip() != "" for begin, end in spans), text


@pytest.mark.parametrize(
    "text", [" " * 60_000 + ".", ". " * 30_000, ". (" * 20_000, '."' * 30_000, "\n" * 60_000]
)
def test_work_grows_with_the_text_only(text: str) -> None:
    """Quadratic work would take minutes, and the test's time-out would tell."""
    assert len(list(sentences(text))) <= len(text) // 2
    divide(text, Span(0, len(text)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two, three four five six", ("one two,", "three four five six")),
        ("one, two three four five six seven", ("one, two three four", "five six seven")),
        ("一二三，四五六", ("一二三，", "四五六")),
        ("one two", ("one", "two")),
        ("a bbbbbbbbbbbbbbbb", ("a", "bbbbbbbbbbbbbbbb")),
        ("一，二三四五六七八九", ("一，", "二三四五六七八九")),
    ],
)
def test_divided_at_a_clause_near_the_middle_else_at_whitespace(text: str, parts: tuple[str, str]) -> None:
    span = Span(3, 3 + len(text))
    found = divide(f"xx {text} yy", span)
    assert found is not None
    assert tuple(f"xx {text} yy"[begin:end] for begin, end in found) == parts


@pytest.mark.parametrize("text", ["word", "word,", "3,14", "一二三。"])
def test_never_cut_in_a_word(text: str) -> None:
    assert divide(text, Span(0, len(text))) is None
