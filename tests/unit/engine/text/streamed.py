"""Texts in many scripts, and what a call is told of one when it is streamed and when it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tokenizers
from hypothesis import strategies as st

from tests.unit.engine.scheduling.stand_ins import GreedyChoice, NumberTokenizer, call
from tests.unit.engine.tasks.manifests import generator
from trine import frames
from trine.engine.tasks.generation import Generation
from trine.engine.text.detokenizer import Detokenizer
from trine.sampling import Decoding, Stopping

EMOJI = ["😀", "👍🏽", "👩\u200d👩\u200d👧", "🇫🇷", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e007f"]
CHINESE = ["世", "界", "中文", "日本語", "𠮷", "。", "，"]  # noqa: RUF001
OTHERS = [
    "the",
    "fox",
    "naïve",
    "e\u0301",
    "한국",
    "عربي",
    "ไทย",
    "हि",
    "№5",
    "ß",
    "-",
    ".",
    ",",
    "'s",
    "(",
    "\u200b",
]
SPACES = [" ", " ", "  ", "\n", "\t", "\u3000", "\u00a0"]

TEXTS = st.one_of(
    st.lists(st.sampled_from([*EMOJI, *CHINESE, *OTHERS, *SPACES]), max_size=25).map("".join),
    st.text(max_size=25),
)
"""Mostly characters of several bytes, whose tokens no small vocabulary has whole."""


@st.composite
def written(draw: st.DrawFn, tokenizer: tokenizers.Tokenizer) -> list[int]:
    """The tokens of a text, perhaps cut amid a character, perhaps with tokens in it that make no sense there; or any tokens."""
    size = tokenizer.get_vocab_size()
    if draw(st.integers(0, 3)) == 0:
        return draw(st.lists(st.integers(0, size - 1), max_size=25))
    ids = tokenizer.encode(draw(TEXTS), add_special_tokens=draw(st.booleans())).ids
    ids = ids[: draw(st.integers(0, len(ids)))] if draw(st.booleans()) else ids
    for place, token in draw(st.lists(st.tuples(st.integers(0, 25), st.integers(0, size - 1)), max_size=4)):
        ids.insert(place, token)
    return ids


def told(
    detokenizer: Detokenizer, ids: Sequence[int], *, stream: bool, stops: Sequence[str] = ()
) -> list[str]:
    """The text of a generation that writes `ids`, in the portions in which its caller gets it."""
    manifest = generator(len(ids) + 2, vocab_size=1 << 20)
    task: Any = Generation(manifest, NumberTokenizer(), detokenizer, GreedyChoice)
    task._eos_ids = frozenset()  # every token is text here; end tokens have their own tests
    decoding = Decoding(stopping=Stopping(strings=tuple(stops)), max_new_tokens=max(len(ids), 1))
    request = frames.Generate(1, ["1"], 1e9, 2, "one", decoding, stream)
    (part,) = task.prepare(request, call())
    portions: list[str] = []
    for token in ids:
        part.take(token)
        message = task.tell(part)
        if isinstance(message, frames.Answer):
            portions.append(message.generated[0].text)
        elif message is not None:
            portions.append(message.text)
        if part.finish:
            break
    return portions
