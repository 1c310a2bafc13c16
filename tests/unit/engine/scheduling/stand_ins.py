"""Stand-ins whose answers a person computes on paper, and which check what their callers owe them.

The vocabulary is the alphabet: id 0 is "a", the end token. The next token is the sum of all tokens so far, modulo 26:
"1 2" goes on 3 (d), 6 (g), 12 (m), 24 (y), 22 (w); "13" goes on 13 (n), 0 (end).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.engine.scheduling.call import Call
from trine.engine.scheduling.runner import Chunk, Outcome
from trine.engine.scheduling.sequence import Sequence as Generation
from trine.engine.text.tokenizer import Encoding

VOCAB = 26
EOS = 0
WITHHELD = 25
TOKEN_BYTES = 10
POISON = 666
"""A token on which every runner fails."""


class AlphabetRunner:
    """Decoder-only: a row of the cache is the list of its tokens."""

    def __init__(self, slots: int, max_chunk: int = 8) -> None:
        self.slots = slots
        self.max_chunk = max_chunk
        self.cache: list[list[int]] = [[] for _ in range(slots)]
        self.steps: list[list[tuple[int, int]]] = []
        """(row, tokens) of each chunk of each step, by row."""
        self.moves: list[tuple[int, int]] = []
        self.forks: list[tuple[int, int]] = []
        self.blocks: dict[int, list[int]] = {}

    def insert(self, prompts: Sequence[tuple[int, Sequence[int]]]) -> None:
        raise AssertionError("a decoder-only runner has no sources")

    def step(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        assert chunks, "an empty step"
        rows = {chunk.row for chunk in chunks}
        assert len(rows) == len(chunks)
        assert all(0 <= row < self.slots for row in rows)
        self.steps.append(sorted((chunk.row, len(chunk.tokens)) for chunk in chunks))
        if any(POISON in chunk.tokens for chunk in chunks):
            raise RuntimeError("poison: /secret/path")
        outcomes: list[Outcome] = []
        for chunk in chunks:
            if self._write(chunk):
                token = self._next(chunk)
                outcomes += chunk.choice.offer(token) if isinstance(chunk.choice, AlphabetSearch) else [token]
        return outcomes

    def _write(self, chunk: Chunk) -> bool:
        assert 1 <= len(chunk.tokens) <= self.max_chunk
        assert chunk.past <= len(self.cache[chunk.row])
        # What is beyond `past` is rubbish of an earlier sequence, as in the real cache.
        self.cache[chunk.row][chunk.past :] = chunk.tokens
        return chunk.choice is not None

    def _next(self, chunk: Chunk) -> int:
        return sum(self.cache[chunk.row]) % VOCAB

    def block_bytes(self, tokens: int) -> int:
        return tokens * TOKEN_BYTES

    def save(self, block: int, row: int, begin: int, tokens: int) -> None:
        assert begin + tokens <= len(self.cache[row])
        self.blocks[block] = self.cache[row][begin : begin + tokens]

    def restore(self, blocks: Sequence[int], row: int) -> None:
        assert blocks, "an empty restore"
        self.cache[row] = [token for block in blocks for token in self.blocks[block]]

    def move(self, source: int, target: int) -> None:
        assert 0 <= target < source < self.slots
        self.moves.append((source, target))
        self.cache[target] = list(self.cache[source])

    def fork(self, source: int, target: int) -> None:
        assert source != target
        self.forks.append((source, target))
        self.cache[target] = list(self.cache[source])


class AlphabetSeq2Seq(AlphabetRunner):
    """Encoder-decoder: the source's tokens count in the sum, the decoder takes one token a row."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots, max_chunk=1)
        self.cross: list[list[int] | None] = [None] * slots
        self.inserts: list[list[int]] = []
        """The rows of each call."""

    def insert(self, prompts: Sequence[tuple[int, Sequence[int]]]) -> None:
        assert prompts, "an empty insert"
        self.inserts.append([row for row, _ in prompts])
        if any(POISON in source for _, source in prompts):
            raise RuntimeError("poison: /secret/path")
        for row, source in prompts:
            self.cross[row] = list(source)

    def _next(self, chunk: Chunk) -> int:
        source = self.cross[chunk.row]
        assert source is not None, "a row whose source was never encoded"
        return (sum(source) + sum(self.cache[chunk.row])) % VOCAB

    def move(self, source: int, target: int) -> None:
        super().move(source, target)
        self.cross[target] = self.cross[source]

    def fork(self, source: int, target: int) -> None:
        super().fork(source, target)
        assert self.cross[target] == self.cross[source] is not None, "another source's row"


class AlphabetEncoder:
    """Two labels: the logits of a text are the sum and the number of its tokens."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        """The lengths of each batch."""
        self.types: list[Sequence[int] | None] = []

    def run(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None
    ) -> list[NDArray[np.float32]]:
        assert sequences, "an empty batch"
        self.types += types or []
        self.batches.append([len(tokens) for tokens in sequences])
        if any(POISON in tokens for tokens in sequences):
            raise RuntimeError("poison: /secret/path")
        return [np.array([sum(tokens), len(tokens)], np.float32) for tokens in sequences]


class GreedyChoice:
    """The sampler's state of a runner that does not look at it; its log-probabilities are minus the ids."""

    def __init__(self, *parameters: object, **state: object) -> None:
        self.parameters = parameters
        self.state = state
        self.logprobs: AlphabetScores | None = AlphabetScores() if state.get("logprobs") else None


class AlphabetScores:
    def of(self, token: int) -> float:
        return -float(token)

    def best(self, count: int) -> list[tuple[int, float]]:
        return [(token, self.of(token)) for token in range(count)]


class AlphabetSearch:
    """The sampler's state of a search whose best texts are those with the greatest sum.

    A beam goes on with the next token as everywhere, or with the one after it. It ends with the `limit`-th token.
    """

    def __init__(self, width: int, limit: int) -> None:
        self.width = width
        self.limit = limit
        self.texts: list[list[int]] = [[]]
        """What each beam has written, best first."""
        self._offered: list[int] = []

    def offer(self, token: int) -> list[Outcome]:
        """The next token of the next beam; with the last one the outcome for all."""
        self._offered.append(token)
        if len(self._offered) < len(self.texts):
            return []
        found = [
            (parent, [*self.texts[parent], (best + more) % VOCAB])
            for parent, best in enumerate(self._offered)
            for more in (0, 1)
        ]
        found.sort(key=lambda one: sum(one[1]), reverse=True)
        found, self._offered = found[: self.width], []
        self.texts = [text for _, text in found]
        if len(self.texts[0]) == self.limit:
            return [[]]
        return [[(parent, text[-1]) for parent, text in found]]


class NumberTokenizer:
    """ "1 2 3" is [1, 2, 3]; the word "crash" is a bug of the tokenizer's."""

    def encode(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]

    def encode_fully(self, texts: Sequence[str], pairs: Sequence[str | None] = ()) -> list[Encoding]:
        """The special token 25 ends each text; a number with a "+" before it goes on a word."""
        return [self._full(*both) for both in zip(texts, pairs or [None] * len(texts), strict=True)]

    def _full(self, text: str, pair: str | None) -> Encoding:
        found = Encoding([], [], [], [], [])
        for part, words in enumerate([text] if pair is None else [text, pair]):
            for word in re.finditer(r"\S+", words):
                self._add(found, int(word[0]), part, part, word.span(), word[0][0] == "+")
            self._add(found, WITHHELD, part, None, (0, 0), False)
        return found

    def _add(
        self, to: Encoding, token: int, kind: int, part: int | None, span: tuple[int, int], goes_on: bool
    ) -> None:
        to.ids.append(token)
        to.types.append(kind)
        to.parts.append(part)
        to.offsets.append(span)
        to.continues.append(goes_on)


class AlphabetDetokenizer:
    """Letters; a stream withholds a "z" until the token after it."""

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in ids)

    def token_text(self, token: int) -> str:
        return self.decode([token])

    def stream(self) -> AlphabetStream:
        return AlphabetStream()


class AlphabetStream:
    def __init__(self) -> None:
        self._held = ""

    def push(self, token: int) -> str:
        self._held += chr(ord("a") + token)
        if token == WITHHELD:
            return ""
        text, self._held = self._held, ""
        return text

    def finish(self) -> str:
        text, self._held = self._held, ""
        return text


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def alone(prompt: Sequence[int], limit: int) -> tuple[list[int], str]:
    """What a decoder-only sequence must write, end token included, and why it ends."""
    context, written = list(prompt), list[int]()
    while len(written) < limit:
        token = sum(context) % VOCAB
        context.append(token)
        written.append(token)
        if token == EOS:
            return written, "stop"
    return written, "length"


def searched(prompt: Sequence[int], width: int, limit: int) -> list[list[int]]:
    """What a decoder-only search must find."""
    search = AlphabetSearch(width, limit)
    while True:
        outcomes = [search.offer(sum([*prompt, *text]) % VOCAB) for text in list(search.texts)]
        if outcomes[-1] == [[]]:
            return search.texts


def call(
    number: int = 1,
    *,
    caller: str = "one",
    priority: int = 2,
    inputs: int = 1,
    deadline: float = float("inf"),
) -> Call:
    return Call(number, caller, priority, deadline, 1000.0, inputs)


def generation(prompt: Sequence[int], limit: int, of: Call | None = None, **changes: Any) -> Generation:
    """A decoder-only sequence of a call of its own, unless told otherwise."""
    values: dict[str, Any] = {
        "call": of or call(),
        "index": 0,
        "tokens": list(prompt),
        "context": list(prompt),
        "begin": len(prompt),
        "limit": limit,
        "choice": "greedy",
        "eos_ids": frozenset({EOS}),
    }
    return Generation(**{**values, **changes})


def search(
    prompt: Sequence[int], width: int, limit: int, of: Call | None = None, **changes: Any
) -> Generation:
    """A decoder-only beam search."""
    return generation(
        prompt, limit, of, **{"width": width, "choice": AlphabetSearch(width, limit), **changes}
    )


def translation(source: Sequence[int], limit: int, of: Call | None = None, **changes: Any) -> Generation:
    """An encoder-decoder sequence with start token 1."""
    return generation(source, limit, of, **{"context": [1], "begin": 1, **changes})
