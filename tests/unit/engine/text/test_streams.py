"""What is streamed is, joined, the text that is told at once: every kind of tokenizer, characters split across tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.engine.text.conftest import KINDS
from tests.unit.engine.text.streamed import CHINESE, EMOJI, told, written
from trine.engine.text.detokenizer import REPLACEMENT, Detokenizer

Kind = tuple[tokenizers.Tokenizer, Detokenizer]

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ORDINARY = settings(COMMON, max_examples=200)
PROOF = settings(COMMON, max_examples=10_000)


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest, path_of: Callable[[str], Path]) -> Kind:
    path = path_of(request.param)
    return tokenizers.Tokenizer.from_file(str(path)), Detokenizer(path)


def check(kind: Kind, data: st.DataObject) -> None:
    tokenizer, detokenizer = kind
    ids = data.draw(written(tokenizer))
    (whole,) = told(detokenizer, ids, stream=False) or [""]
    assert "".join(told(detokenizer, ids, stream=True)) == whole
    assert whole == detokenizer.decode(ids)
    begin = data.draw(st.integers(0, max(len(whole) - 1, 0)))
    if stop := whole[begin : begin + data.draw(st.integers(1, 4))]:
        (stopped,) = told(detokenizer, ids, stream=False, stops=[stop])
        assert "".join(told(detokenizer, ids, stream=True, stops=[stop])) == stopped
        assert stopped == whole[: whole.find(stop)]


@given(data=st.data())
@ORDINARY
def test_streams_join_to_the_text(kind: Kind, data: st.DataObject) -> None:
    check(kind, data)


@pytest.mark.proof
@given(data=st.data())
@PROOF
def test_many_streams_join_to_the_text(kind: Kind, data: st.DataObject) -> None:
    check(kind, data)


@pytest.mark.parametrize("name", ["byte_level", "byte_fallback", "unigram_byte_fallback"])
@pytest.mark.parametrize("character", [*EMOJI, *CHINESE])
def test_a_character_of_several_tokens_comes_whole(
    path_of: Callable[[str], Path], name: str, character: str
) -> None:
    tokenizer, detokenizer = tokenizers.Tokenizer.from_file(str(path_of(name))), Detokenizer(path_of(name))
    ids = tokenizer.encode(f"a{character} a").ids
    assert any(REPLACEMENT in detokenizer.token_text(token) for token in ids), "it is split across tokens"
    portions = told(detokenizer, ids, stream=True)
    assert "".join(portions) == f"a{character} a"
    assert not any(REPLACEMENT in portion for portion in portions)
