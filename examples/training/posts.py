"""What `ner_en.py` learns from and is judged by: posts of two corpora in one label set, swapped mentions, and entity-level F1."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("PER", "LOC", "ORG")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in KINDS for prefix in "BI"))
OURS = {name: name for name in KINDS} | {
    "person": "PER",
    "location": "LOC",
    "corporation": "ORG",
    "group": "ORG",
}
"""Types of the corpora; creative works and products of WNUT17 are no entities here."""

Span = tuple[int, int, str]
"""The first word, the word after the last, and the type."""


@dataclass(frozen=True)
class Post:
    words: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def read(path: Path) -> list[Post]:
    """Posts of a file of word<TAB>tag lines, empty lines between them. BIO in, BIO out."""
    posts, words, tags = [], [], []
    for line in [*path.read_text(encoding="utf-8").split("\n"), ""]:
        word, _, tag = line.rpartition("\t")
        if word.strip():
            words.append(word.strip())
            tags.append(ours(tag.strip()))
        elif not tag.strip() and words:
            posts.append(Post(tuple(words), tuple(without_handles(words, tags))))
            words, tags = [], []
    return posts


def ours(tag: str) -> str:
    prefix, _, kind = tag.partition("-")
    return f"{prefix}-{OURS[kind]}" if kind in OURS else "O"


def without_handles(words: Sequence[str], tags: Sequence[str]) -> list[str]:
    """No entity in "@name": BTC marks most, often as two entities, "@" and "name", WNUT17 only some; the @ says enough."""
    kept = list(tags)
    for begin, end, _ in spans(tags):
        if words[begin].startswith("@") or (begin and words[begin - 1] == "@"):
            kept[begin:end] = ["O"] * (end - begin)
    return kept


def spans(tags: Sequence[str]) -> list[Span]:
    """Entities of strict BIO: a B, then every I of its type. An I without them is no entity (seqeval: mode="strict", IOB2)."""
    found: list[Span] = []
    for place, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix == "B":
            found.append((place, place + 1, kind))
        elif prefix == "I" and found and found[-1][1:] == (place, kind):
            found[-1] = (found[-1][0], place + 1, kind)
    return found


def f1(wanted: Sequence[Sequence[str]], answered: Sequence[Sequence[str]]) -> dict[str, float]:
    """By type and micro, in percent: an answer is right if its first word, its last and its type are."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for truth, guess in zip(wanted, answered, strict=True):
        expected, given = set(spans(truth)), set(spans(guess))
        right.update(kind for _, _, kind in expected & given)
        total.update(kind for _, _, kind in (*expected, *given))
    right["micro"], total["micro"] = right.total(), total.total()
    return {name: 200 * right[name] / max(1, total[name]) for name in (*KINDS, "micro")}


def mentions(posts: Sequence[Post]) -> dict[str, list[tuple[str, ...]]]:
    """All mentions of each type, as often as they occur."""
    found = defaultdict(list)
    for post in posts:
        for begin, end, kind in spans(post.tags):
            found[kind].append(post.words[begin:end])
    return found


def swap(post: Post, pool: dict[str, list[tuple[str, ...]]], rate: float, rng: random.Random) -> Post:
    """Each mention, with the probability `rate`, replaced by another of its type."""
    words: list[str] = []
    tags: list[str] = []
    done = 0
    for begin, end, kind in spans(post.tags):
        mention = rng.choice(pool[kind]) if rng.random() < rate else post.words[begin:end]
        words += [*post.words[done:begin], *mention]
        tags += [*post.tags[done:begin], f"B-{kind}", *[f"I-{kind}"] * (len(mention) - 1)]
        done = end
    return Post((*words, *post.words[done:]), (*tags, *post.tags[done:]))
