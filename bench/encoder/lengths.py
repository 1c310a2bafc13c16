"""How long real texts are, in tokens: measured on a folder of texts, or as it stands in lengths.json. Pure but for `measured`.

    python -m bench.encoder.lengths DATA

writes lengths.json anew from DATA. Only counts are kept. The tokens are those of a WordPiece vocabulary of BERT's size that is trained
on the same texts, since BERT's own is not at hand: counts of its kind, a little low.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
FILE = Path(__file__).with_name("lengths.json")
_KEPT = 512
"""Counts of each kind, evenly spaced over the sorted ones."""
_VOCABULARY = 30522
_SPECIAL = 2
"""[CLS] and [SEP]."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of each text, special tokens included, in rising order."""

    sentences: list[int]
    documents: list[int]

    def draw(self, count: int, documents: int, most: int, seed: str) -> list[int]:
        """`count` lengths, so many of them of `documents`, in random order, none above `most`; the same for the same seed."""
        draw = random.Random(seed)
        found = draw.choices(self.sentences, k=count - documents) + draw.choices(self.documents, k=documents)
        draw.shuffle(found)
        return [min(length, most) for length in found]


def load() -> Lengths:
    return Lengths(**json.loads(FILE.read_text(encoding="utf-8")))


def measured(data: Path) -> Lengths:
    """Of the texts under `data`: sentences of four corpora, and the abstracts of a fifth as documents. Raises FileNotFoundError."""
    sentences, documents = _sentences(data), list(_documents(data))
    count = _counter(sentences + documents)
    return Lengths(kept(sorted(count(sentences)), _KEPT), kept(sorted(count(documents)), _KEPT))


def kept(values: Sequence[T], most: int) -> list[T]:
    """At most `most` (above 1) of them, at even distances: the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def _sentences(data: Path) -> list[str]:
    """As many of each corpus, from its beginning to its end: the largest would drown the others."""
    corpora = [list(dict.fromkeys(filter(None, texts))) for texts in _corpora(data)]
    return [text for corpus in corpora for text in kept(corpus, min(map(len, corpora)))]


def _corpora(data: Path) -> Iterator[Iterable[str]]:
    yield (line.split("\t")[0] for line in _lines(data / "tatoeba_fra" / "fra.txt"))
    yield [line for sign in ("pos", "neg") for line in _lines(data / "rt_polarity" / f"rt-polarity.{sign}")]
    reviews = [data / "uci_sentiment" / f"{name}_labelled.txt" for name in ("amazon_cells", "imdb", "yelp")]
    yield (line.split("\t")[0] for path in reviews for line in _lines(path))
    yield _posts(data / "btc_ner" / "btc.train")


def _posts(path: Path) -> Iterator[str]:
    """Posts of one word a line, with a blank line between two."""
    for post in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        yield " ".join(line.split("\t")[0] for line in post.splitlines())


def _documents(data: Path) -> Iterator[str]:
    for line in _lines(data / "scitldr" / "train.jsonl"):
        yield " ".join(json.loads(line)["source"])


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _counter(texts: Sequence[str]) -> Callable[[Sequence[str]], list[int]]:
    from tokenizers import BertWordPieceTokenizer  # only here: whoever reads lengths.json needs no library

    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=_VOCABULARY, show_progress=False)
    return lambda given: [
        len(one.ids) + _SPECIAL for one in tokenizer.encode_batch(list(given), add_special_tokens=False)
    ]


def main(data: str) -> None:
    FILE.write_text(json.dumps(asdict(measured(Path(data)))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
