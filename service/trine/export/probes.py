# ruff: noqa: RUF001 - that the characters look alike is the point
"""The texts that every export is proved on: many scripts, odd characters, lengths up to the checkpoint's context. Export process.

The texts are written for this file. Those of `GROWING` are repeated until they fill a given share of the context.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from trine.errors import NotACheckpoint
from trine.export.plan import PROBES

PLAIN = (
    "Hello.",
    "a",
    "Yes!",
    "The ferry leaves at noon.",
    "I have never seen such a clumsy, joyless film.",
    "This is the warmest and funniest story of the year.",
    "Where did you put the keys to the old house?",
    "She said: \"It isn't mine, it's hers.\"",
    "Don't worry, we'll be there by 7:45 p.m.",
    "THE KING:\nWho goes there? Speak, or be silent for ever.",
    "We moved to a small town near the coast when I was eleven, and nobody asked me whether I liked it.",
    "3.14159 is close to pi; 2,000,000 is two million; 10-3=7.",
    "Send it to nobody@example.org, or see https://example.org/path?q=1&r=two#three.",
    "for (int i = 0; i < n; ++i) { sum += a[i]; }  // a loop",
    '{"name": "probe", "values": [1, 2.5, null, true]}',
    "<p>Some <b>markup</b> &amp; an entity</p>",
    "  leading spaces",
    "trailing spaces   ",
    "several   spaces    between",
    "a\ttab and a\nnewline and\r\na carriage return",
    "UPPER lower MiXeD cAsE",
    "hyphen-ated, under_scored, CamelCased, dotted.name",
    "antidisestablishmentarianism and floccinaucinihilipilification",
    "qwrtzpsdfgh xkcdvbnm jjjjjjjjjjjjjjjj",
    "....!!!???---,,,;;;",
    "$5.00, 20 €, £3, ¥400, 50 %, #1, @home, 5 < 6 > 4, a | b, ~c, ^d, `e`",
    "“Curly quotes” and ‘single ones’ — with dashes – and an ellipsis…",
    "Le garçon a mangé une crème brûlée à l’hôtel, où il était déjà allé.",
    "Où est la gare, s'il vous plaît ? — Là-bas, à gauche.",
    "Über den Wolken muss die Freiheit wohl grenzenlos sein: größer, schöner, süßer.",
    "El niño comió piñas; ¿verdad? ¡Claro que sí!",
    "A informação não está disponível amanhã à tarde.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Zażółć gęślą jaźń.",
    "Işık ılık süt içiyor, İstanbul'da yağmur yağıyor.",
    "Þetta er íslenska, með ð og þ og æ.",
    "Các bạn có khỏe không? Trời hôm nay đẹp quá.",
    "Съешь же ещё этих мягких французских булок.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "שלום עולם, מה שלומך היום?",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "यह एक छोटा वाक्य है।",
    "এটি একটি ছোট বাক্য।",
    "இது ஒரு சிறிய வாக்கியம்.",
    "นี่คือประโยคสั้น ๆ ภาษาไทย",
    "我昨天在图书馆看到一本很有意思的书。",
    "今天天氣很好，我們去爬山吧！",
    "これは短い文です。カタカナとひらがなと漢字。",
    "안녕하세요, 오늘 날씨가 좋네요.",
    "გამარჯობა, მსოფლიო!",
    "Բարեւ, աշխարհ։",
    "ሰላም ለዓለም",
    "I like it 👍🏽, really 😀😀, from 🇫🇷 with 👨‍👩‍👧 and ❤️.",
    "½ of ① is № 5, ﬁne ﬂow, ＡＢＣ１２３, ™ and ®.",
    "cafe\u0301 nai\u0308ve e\u0327 (combining marks)",
    "zero\u200bwidth, no\u00a0break, soft\u00adhyphen, \ufeffmark",
    "mixed: hello мир 世界 שלום مرحبا 123 😀",
    "∀x ∈ ℝ: x² ≥ 0 ∧ √x → ∞, αβγδ ≠ ∑∫",
)
"""Texts as they are."""

PAIRS = (
    ("Where did you put the keys?", "They are on the table, beside the letter."),
    ("a", "b"),
    ("How many people live in Lisbon?", "Lisbon has about half a million inhabitants; its region has three."),
    ("A man is playing the guitar on a stage.", "Nobody plays an instrument."),
    ("Où est la gare ?", "Là-bas, à gauche, derrière l’hôtel."),
    ("我昨天在图书馆看到一本书。", "שלום עולם 😀"),
    ("We walked along the beach and talked about the summer. " * 3, "Yes."),
    ("No.", "It was a long and rather slow film, but the ending made up for all of it, I think."),
)
"""Two texts of one input each, for classifiers that take them."""

GROWING = (
    ("The quick brown fox jumps over the lazy dog near the river bank. ", 0.1),
    ("It was a long and rather slow film, but the ending made up for all of it, I think. ", 0.25),
    ("We walked along the beach, talked about the summer, and forgot what time it was. ", 0.5),
    ("Le train de huit heures est en retard, comme toujours ; nous attendons sur le quai. ", 0.75),
    ("He counted one, two, three, four, five stones, put them back, and began again. ", 0.95),
    ("Words and words and more words, until the very last place of the context is taken: ", 1.5),
)
"""(text, share of the context that it is repeated to fill); the last one is too long, and its token ids are cut."""


def texts(folder: Path, count_tokens: Callable[[str], int], context: int) -> list[str]:
    """The shipped texts, then those of probes.jsonl in the checkpoint's folder. Raises NotACheckpoint for a bad line there."""
    grown = [_grow(text, int(share * context), count_tokens) for text, share in GROWING]
    return [*PLAIN, *grown, *_own(folder / PROBES)]


def _grow(text: str, tokens: int, count_tokens: Callable[[str], int]) -> str:
    """`text` repeated to about `tokens` tokens."""
    return text * max(1, round(tokens / max(1, count_tokens(text))))


def _own(path: Path) -> list[str]:
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        try:
            text = json.loads(line)["text"] if line.strip() else None
        except (ValueError, KeyError, TypeError, RecursionError):
            text = ""
        if text is None:
            continue
        if not isinstance(text, str) or not text:
            raise NotACheckpoint(f'line {number} of {PROBES} is not {{"text": ...}} with a text')
        found.append(text)
    return found
