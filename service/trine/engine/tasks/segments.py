"""The texts of a translation as sentences that fit the context, or whole. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from trine.engine.tasks.inputs import Tokenizer, text_field, tokenize
from trine.engine.tasks.languages import Told
from trine.engine.tasks.passage import Source
from trine.engine.text.segment import Span, divide, sentences
from trine.errors import InvalidInput

MAX_SEGMENTS = 1024
"""Of one text."""
MAX_REQUEST_SEGMENTS = 4096
"""Of all texts of a request: each is a sequence with state of its own."""


def whole(tokenizer: Tokenizer, texts: Sequence[str], limit: int, told: Sequence[Told]) -> list[Source]:
    """Each text in one segment. Raises InvalidInput for one that is longer than `limit` tokens."""
    worded = [_worded(text, _all(text), each) for text, each in zip(texts, told, strict=True)]
    encoded = tokenize(tokenizer, worded, limit)
    return [_source(text, [(_all(text), tokens)]) for text, tokens in zip(texts, encoded, strict=True)]


def segmented(tokenizer: Tokenizer, texts: Sequence[str], limit: int, told: Sequence[Told]) -> list[Source]:
    """Each text in segments of at most `limit` tokens: its sentences, divided further where they are longer.

    Raises InvalidInput that names the text which has no such place to divide, or too many segments.
    """
    if not texts:
        raise InvalidInput("there is no input", field="inputs")
    found = [_sentences(text, each.own) for text, each in zip(texts, told, strict=True)]
    counts = [len(spans) for spans in found]
    done: list[list[tuple[Span, list[int]]]] = [[] for _ in texts]
    todo = [(index, span) for index, spans in enumerate(found) for span in spans]
    while todo:
        _bound(counts)
        longer: list[tuple[int, Span]] = []
        encoded = _encode(tokenizer, [(i, _worded(texts[i], span, told[i])) for i, span in todo])
        for (index, span), tokens in zip(todo, encoded, strict=True):
            if len(tokens) <= limit:
                done[index].append((span, tokens))
            else:
                longer += [(index, half) for half in _halves(texts[index], span, index, len(tokens), limit)]
                counts[index] += 1
        todo = longer
    return [_source(text, sorted(parts)) for text, parts in zip(texts, done, strict=True)]


def _sentences(text: str, own: int) -> list[Span]:
    """Those of the text, at least one. Its own lead, of `own` characters, is never one by itself, though a line end may follow it."""
    found = [Span(own + begin, own + end) for begin, end in islice(sentences(text[own:]), MAX_SEGMENTS + 1)]
    if found and own:
        found[0] = Span(len(text) - len(text.lstrip()), found[0].end)
    return found or [_all(text)]


def _halves(text: str, span: Span, index: int, tokens: int, limit: int) -> tuple[Span, Span]:
    halves = divide(text, span)
    if halves is None:
        raise InvalidInput(
            f"a part of the text has {tokens} tokens and no place to divide it, and the checkpoint reads at most {limit}",
            field=text_field(index),
        )
    return halves


def _bound(counts: Sequence[int]) -> None:
    for index, count in enumerate(counts):
        if count > MAX_SEGMENTS:
            raise InvalidInput(f"the text has more than {MAX_SEGMENTS} segments", field=text_field(index))
    if sum(counts) > MAX_REQUEST_SEGMENTS:
        raise InvalidInput(
            f"the texts have {sum(counts)} segments, and at most {MAX_REQUEST_SEGMENTS} are translated at once",
            field="inputs",
        )


def _encode(tokenizer: Tokenizer, parts: Sequence[tuple[int, str]]) -> list[list[int]]:
    """Token ids of each part. Raises InvalidInput that names the text, by the parts' indices."""
    try:
        encoded = tokenizer.encode([part for _, part in parts])
    except InvalidInput:
        for index, part in parts:
            try:
                tokenizer.encode([part])
            except InvalidInput as error:
                raise InvalidInput(error.message, field=text_field(index)) from error
        raise
    for (index, _), tokens in zip(parts, encoded, strict=True):
        if not tokens:
            raise InvalidInput("the text has no token", field=text_field(index))
    return encoded


def _worded(text: str, span: Span, told: Told) -> str:
    """What is tokenized for a segment; a lead that is the text's own is in the first one."""
    words = text[span.begin : span.end]
    return words if span.begin < told.own else told.lead + words


def _all(text: str) -> Span:
    return Span(0, len(text))


def _source(text: str, parts: Sequence[tuple[Span, list[int]]]) -> Source:
    spans = [span for span, _ in parts]
    begins = [0, *(span.end for span in spans)]
    ends = [*(span.begin for span in spans), len(text)]
    gaps = [text[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return Source([tokens for _, tokens in parts], spans, gaps)
