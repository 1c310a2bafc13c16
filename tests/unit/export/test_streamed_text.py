"""Streams joined are the unary text also for the tokenizers that the export writes itself, and for those of the demo checkpoints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from transformers import AutoTokenizer

    from tests.unit.engine.text.streamed import told, written
    from tests.unit.export import tiny
    from tests.unit.export.test_m2m100_tokenizer import original as m2m100
    from trine.engine.text.detokenizer import Detokenizer
    from trine.export import tokenizer as tokenizers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

CHECKPOINTS = Path(__file__).parents[3] / "examples" / "checkpoints"
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def load(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


MADE: dict[str, Callable[[Path], Any]] = {
    "gpt2": lambda folder: load(tiny.gpt2(folder)),
    "marian": lambda folder: load(tiny.marian(folder)),
    "m2m100 unigram": lambda folder: m2m100(folder, "unigram"),
    "m2m100 bpe": lambda folder: m2m100(folder, "bpe"),
    "verse": lambda folder: load(CHECKPOINTS / "verse"),
    "en-fr": lambda folder: load(CHECKPOINTS / "en-fr"),
}

Kind = tuple[library.Tokenizer, Detokenizer]


@pytest.fixture(scope="module", params=MADE)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kind:
    """What reads and what writes."""
    root = tmp_path_factory.mktemp("tokenizer")
    (root / "checkpoint").mkdir()
    made = MADE[request.param](root / "checkpoint")
    tokenizers.write(made, len(made), root)
    target = root / tokenizers.TARGET
    path = target if target.exists() else root / tokenizers.SOURCE
    return library.Tokenizer.from_file(str(path)), Detokenizer(path)


def check(kind: Kind, data: st.DataObject) -> None:
    tokenizer, detokenizer = kind
    ids = data.draw(written(tokenizer))
    (whole,) = told(detokenizer, ids, stream=False) or [""]
    assert "".join(told(detokenizer, ids, stream=True)) == whole == detokenizer.decode(ids)


@given(data=st.data())
@settings(COMMON, max_examples=100)
def test_streams_join_to_the_text(kind: Kind, data: st.DataObject) -> None:
    check(kind, data)


@pytest.mark.proof
@given(data=st.data())
@settings(COMMON, max_examples=10_000)
def test_many_streams_join_to_the_text(kind: Kind, data: st.DataObject) -> None:
    check(kind, data)
