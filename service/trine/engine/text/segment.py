"""Where sentences end, and where one that is too long may be divided. Pure functions, any thread.

A border that is missed costs little, since the checkpoint reads two sentences at once; a wrong one tears a sentence. So what is
doubtful is no border. A line break always is one. All places are in Unicode code points.
"""

# ruff: noqa: RUF001 - punctuation of other scripts that looks like Latin is what this file is about

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SPACED = ".!?…‼⁇⁈⁉\u037e"
"""End a sentence where whitespace follows: Latin, Greek, Cyrillic, Hebrew. "3.14", "v1.2" and "example.com" stay whole."""
_BARE = "。｡！？؟۔।॥።։။៕"
"""End a sentence whatever follows: CJK, Arabic, Indic, Ethiopic, Armenian, Burmese, Khmer."""
_CLOSERS = "\"'”’»›)]}」』）】》〉"
_OPENERS = "\"'“‘„«‹([{「『（【《〈¿¡-–—"
_TERMINATOR = re.compile(rf"[{_SPACED}{_BARE}]+[{re.escape(_CLOSERS)}]*|[\r\n\v\f\x85\u2028\u2029]\s*")
_CLAUSE = re.compile(r"[,;:](?=\s)|[،؛，、；：]|\s[-–—](?=\s)")
_SPACE = re.compile(r"\s+")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+")
"""Initials and the like: "J.", "U.S.", "z.B."."""

_NEVER_LAST = frozenset(
    """mr mrs ms messrs dr prof st mt gen col capt lt sgt cpl rev hon gov sen rep pres supt vs viz cf approx ca
    mme mlle mgr sra srta dña bzw bspw evtl ggf vgl hr fr inkl zzgl""".split()  # noqa: SIM905
)
"""Abbreviations that do not end a sentence."""
_BEFORE_NUMBER = frozenset(
    """no nos nr núm num fig figs p pp vol vols art sec ch chap eq ed para abs s str tel ext
    jan feb mar apr jun jul aug sep sept oct nov dec""".split()  # noqa: SIM905
)
"""Abbreviations, and words of their own, that do not end a sentence where a number follows."""


class Span(NamedTuple):
    """A part of a text, from `begin` to before `end`."""

    begin: int
    end: int


def sentences(text: str) -> Iterator[Span]:
    """The sentences of `text` in their order, without the whitespace around them; none for a text of whitespace only."""
    begin = 0
    for match in _TERMINATOR.finditer(text):
        if _ends_sentence(text, begin, match):
            yield from _trimmed(text, begin, match.end())
            begin = match.end()
    yield from _trimmed(text, begin, len(text))


def divide(text: str, span: Span) -> tuple[Span, Span] | None:
    """Two parts of `span` without the whitespace between them, or None where it has no place to divide.

    The nearest to its middle is taken, of clause borders in its middle half, else of whitespace, else of all clause borders.
    """
    length = span.end - span.begin
    clauses = [match.end() for match in _CLAUSE.finditer(text, span.begin, span.end)]
    central = [place for place in clauses if length <= 4 * (place - span.begin) <= 3 * length]
    spaces = [] if central else [match.start() for match in _SPACE.finditer(text, span.begin, span.end)]
    for places in (central, spaces, clauses):
        for place in sorted(places, key=lambda place: abs(2 * place - span.begin - span.end)):
            parts = [*_trimmed(text, span.begin, place), *_trimmed(text, place, span.end)]
            if len(parts) == 2:
                return parts[0], parts[1]
    return None


def _ends_sentence(text: str, begin: int, match: re.Match[str]) -> bool:
    """Whether the punctuation or the line breaks of `match`, in a sentence that began at `begin`, are its end."""
    mark = match[0].rstrip(_CLOSERS)
    if not mark or mark[-1].isspace():
        return True
    rest = match.end()
    spaced = rest == len(text) or text[rest].isspace()
    if mark[-1] in _BARE:
        return spaced or mark == match[0] or text[rest] in _OPENERS
    return (
        spaced
        and not _goes_on(text, rest)
        and not (match[0] == "." and _abbreviates(text, begin, match.start()))
    )


def _goes_on(text: str, place: int) -> bool:
    """Whether the next word begins with a small letter, as after "e.g." or in '"Stop!" he said'."""
    return _next(text, place).islower()


def _abbreviates(text: str, begin: int, dot: int) -> bool:
    """Whether the full stop at `dot` belongs to the word before it."""
    start = dot
    while start > begin and not text[start - 1].isspace():
        start -= 1
    word = text[start:dot].lstrip(_OPENERS)
    if word.isdecimal():
        return not text[begin:start].strip()  # "1." that begins a line is the item's number
    if _ACRONYM.fullmatch(f"{word}."):
        return True
    word = word.lower()
    return word in _NEVER_LAST or (word in _BEFORE_NUMBER and _next(text, dot + 1).isdecimal())


def _next(text: str, place: int) -> str:
    """The first character at or after `place` that is neither whitespace nor opens a sentence; empty at the end of the text."""
    while place < len(text) and (text[place].isspace() or text[place] in _OPENERS):
        place += 1
    return text[place : place + 1]


def _trimmed(text: str, begin: int, end: int) -> Iterator[Span]:
    """The part without the whitespace around it; nothing when it is all whitespace."""
    while begin < end and text[begin].isspace():
        begin += 1
    while begin < end and text[end - 1].isspace():
        end -= 1
    if begin < end:
        yield Span(begin, end)
