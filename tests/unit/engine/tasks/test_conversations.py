"""Conversations on their way to tokens: rendered first, then tokenized together, apart from plain texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, GreedyChoice, NumberTokenizer, call
from tests.unit.engine.tasks.manifests import generator
from trine import frames
from trine.engine.tasks.generation import Generation
from trine.engine.text.chat import ChatTemplate
from trine.errors import InvalidInput, NotPossible
from trine.frames import Message
from trine.sampling import Decoding, Sampling

TEMPLATE = (
    "{% for each in messages %}{% if each.role == 'tool' %}{{ raise_exception('') }}{% endif %}"
    "{{ each.content ~ ' ' }}{% endfor %}"
)


class Noting(NumberTokenizer):
    """Notes its calls; no text may have the token 99, as where it is unknown; 20 begins what has special tokens."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], bool]] = []

    def encode(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        self.calls.append((list(texts), add_special_tokens))
        encoded = super().encode(texts)
        for index, tokens in enumerate(encoded):
            if 99 in tokens:
                raise InvalidInput("unknown", field=f"inputs[{index}].text")
        return [[20] * add_special_tokens + tokens for tokens in encoded]


def prepare(tokenizer: Noting, *inputs: str | list[Message], chat: bool = True) -> list[list[int]]:
    template = ChatTemplate(TEMPLATE, {}) if chat else None
    task = Generation(generator(16), tokenizer, AlphabetDetokenizer(), GreedyChoice, template)
    request = frames.Generate(
        7,
        [each if isinstance(each, str) else "" for each in inputs],
        math.inf,
        2,
        "one",
        Decoding(Sampling()),
        False,
        conversations=[[] if isinstance(each, str) else each for each in inputs],
    )
    return [part.context for part in task.prepare(request, call(7, inputs=len(inputs)))]


def said(*contents: str, role: str = "user") -> list[Message]:
    return [Message(role, content) for content in contents]


def test_each_kind_is_tokenized_in_one_call_and_comes_back_in_its_place() -> None:
    tokenizer = Noting()
    found = prepare(tokenizer, "1", said("2", "3"), "4 5", said("6"))
    assert found == [[20, 1], [2, 3], [20, 4, 5], [6]]
    assert tokenizer.calls == [(["2 3 ", "6 "], False), (["1", "4 5"], True)]


def test_without_plain_texts_there_is_one_call() -> None:
    tokenizer = Noting()
    assert prepare(tokenizer, said("1"), said("2")) == [[1], [2]]
    assert len(tokenizer.calls) == 1


@pytest.mark.parametrize("bad", ["99", "1 " * 16, "1 " * 17], ids=["unknown", "full", "long"])
def test_the_input_at_fault_is_named_as_the_request_has_it(bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare(Noting(), "1", said("2"), said(bad))
    assert caught.value.field == "inputs[2].messages"
    with pytest.raises(InvalidInput) as caught:
        prepare(Noting(), said("2"), said("3"), bad)
    assert caught.value.field == "inputs[2].text"


def test_a_rendering_without_a_token() -> None:
    with pytest.raises(InvalidInput, match="no token") as caught:
        prepare(Noting(), "1", said("2"), said(""))
    assert caught.value.field == "inputs[2].messages"


def test_nothing_is_tokenized_before_all_is_rendered() -> None:
    tokenizer = Noting()
    with pytest.raises(InvalidInput, match="refuses these messages") as caught:
        prepare(tokenizer, said("1"), "1", said("2", role="tool"))
    assert caught.value.field == "inputs[2].messages"
    with pytest.raises(NotPossible) as missing:
        prepare(tokenizer, "1", said("1"), chat=False)
    assert missing.value.field == "inputs[1].messages"
    assert tokenizer.calls == []


def test_all_conversations_of_a_request_share_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is cheap, and a thousand cheap ones would hold the engine up all the same."""
    template = ChatTemplate(TEMPLATE, {})
    template.render([{"role": "user", "content": "1"}])
    assert template.spent > 0
    monkeypatch.setattr("trine.engine.tasks.generation.MAX_TEMPLATE_WORK", 2 * template.spent)
    assert len(prepare(Noting(), said("1"), said("2"))) == 2
    with pytest.raises(InvalidInput, match="together") as caught:
        prepare(Noting(), said("1"), said("2"), said("3"))
    assert caught.value.field == "inputs"
