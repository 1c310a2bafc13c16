"""Entities against transformers' own pipeline: a seeded BERT, real tokenizers of every kind, scripts of every kind."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast, pipeline

from tests.unit.engine.scheduling.stand_ins import call
from tests.unit.engine.tasks.manifests import tagger
from tests.unit.engine.text.conftest import KINDS, TEXTS
from trine import frames
from trine.engine.tasks import token_classification
from trine.engine.tasks.token_classification import TokenClassification
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import Bug, InvalidInput, WrongTask
from trine.frames import Aggregation

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC")
AGGREGATIONS: tuple[Aggregation, ...] = ("none", "simple", "first", "average", "max")
DOCUMENTS = [
    *TEXTS,
    "👩‍👩‍👧 met Zoë in 北京市 and الرياض, then e\u0301l\u0301ena 🇫🇷🇫🇷 left.",
    "שלום עולם, this is ירושלים (Jerusalem)",
    "\ufeff a\u200db [SEP] </s> zzz\U0010ffffqqq ✈️ \U0001d518\U0001d52b",
    "x",
]
UNKNOWN = {"word_piece": "[UNK]", "unigram": "<unk>", "byte_fallback": "<unk>", "metaspace_bpe": "<unk>"}


@pytest.fixture(scope="module")
def model() -> BertForTokenClassification:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = BertForTokenClassification(config).eval()
    with torch.no_grad():  # far from each other, so that all labels come
        model.classifier.weight.mul_(40)
    return model


@pytest.fixture(scope="module")
def path_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """path_of(kind): the tokenizer.json, saved once."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for kind, make in KINDS.items():
        make().save(str(folder / f"{kind}.json"))
    return lambda kind: folder / f"{kind}.json"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def task(path: Path, **changes: Any) -> TokenClassification:
    return TokenClassification(tagger(*LABELS, **{"max_input": 512, **changes}), Tokenizer(path, 400, None))


def tagged(
    subject: TokenClassification, model: Any, texts: list[str], aggregation: Aggregation, **options: Any
) -> list[frames.Tagged]:
    request = frames.ClassifyTokens(7, texts, math.inf, 2, "one", aggregation, **options)
    items = subject.prepare(request, call(7, inputs=len(texts)))
    for item in items:
        with torch.no_grad():
            item.output = model(torch.tensor([item.tokens])).logits[0].numpy()
    *before, last = [subject.tell(item) for item in reversed(items)]
    assert before == [None] * len(before)
    assert last is not None
    return last.tagged


def expected(path: Path, kind: str, model: Any, aggregation: Aggregation) -> list[list[dict[str, Any]]]:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(path), unk_token=UNKNOWN.get(kind), model_max_length=512
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tokenizer does not support real words")
        pipe = pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            aggregation_strategy=aggregation,
            device="cpu",
        )
        return [pipe(text) for text in DOCUMENTS]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_entities_are_those_of_transformers(
    path_of: Callable[[str], Path], kind: str, model: BertForTokenClassification, aggregation: Aggregation
) -> None:
    path = path_of(kind)
    ours = tagged(task(path), model, DOCUMENTS, aggregation)
    theirs = expected(path, kind, model, aggregation)
    name = "entity" if aggregation == "none" else "entity_group"
    assert sum(map(len, theirs)) > 20, "nothing to compare"
    for text, mine, reference in zip(DOCUMENTS, ours, theirs, strict=True):
        assert [(one.label, one.begin, one.end) for one in mine.entities] == [
            (one[name], one["start"], one["end"]) for one in reference
        ]
        assert [one.score for one in mine.entities] == pytest.approx(
            [float(one["score"]) for one in reference], rel=1e-6
        )
        assert [one.text for one in mine.entities] == [text[one["start"] : one["end"]] for one in reference]
        assert mine.usage.windows == 1


def test_offsets_are_code_points_of_the_callers_own_string(path_of: Callable[[str], Path]) -> None:
    """After an emoji of five code points and accents of their own, with lower case and accents gone for the checkpoint."""
    text = "👩‍👩‍👧 A\u0301 北京 نص X"

    def letters(ids: torch.Tensor) -> Any:
        logits = torch.zeros(1, ids.shape[1], len(LABELS))
        logits[0, :, 5] = 9.0
        return type("Answer", (), {"logits": logits})

    (result,) = tagged(task(path_of("word_piece")), letters, [text], "none")
    told = {one.text: (one.begin, one.end) for one in result.entities}
    expected = {"A": (6, 7), "北": (9, 10), "京": (10, 11), "X": (15, 16)}
    assert {word: told.get(word) for word in expected} == expected
    assert max(one.end for one in result.entities) == len(text) == 16


def test_windows_tell_each_token_once(
    path_of: Callable[[str], Path], model: BertForTokenClassification
) -> None:
    """Labels that depend on the token alone are the same in windows as whole."""

    def alone(ids: torch.Tensor) -> Any:
        logits = torch.zeros(1, ids.shape[1], len(LABELS))
        logits[0, torch.arange(ids.shape[1]), ids[0] % len(LABELS)] = 3.0
        return type("Answer", (), {"logits": logits})

    path, text = path_of("word_piece"), " ".join(TEXTS * 3)
    for aggregation in AGGREGATIONS:
        (whole,) = tagged(task(path), alone, [text], aggregation)
        for overlap in (None, 0, 7):
            windowed = frames.Windows(overlap)
            (parted,) = tagged(task(path, max_input=32), alone, [text], aggregation, windows=windowed)
            assert parted.entities == whole.entities
            assert parted.usage.windows > 5
            assert parted.usage.input_tokens >= whole.usage.input_tokens + 2 * (parted.usage.windows - 1)


def test_a_long_text_is_refused_unless_windows_are_asked_for(path_of: Callable[[str], Path]) -> None:
    request = frames.ClassifyTokens(7, ["x", " ".join(TEXTS)], math.inf, 2, "one", "simple")
    with pytest.raises(InvalidInput, match="reads at most 16") as caught:
        task(path_of("word_piece"), max_input=16).prepare(request, call(7, inputs=2))
    assert caught.value.field == "inputs[1].text"


def test_scores_that_are_no_numbers_are_no_answer(path_of: Callable[[str], Path]) -> None:
    subject = task(path_of("word_piece"))
    request = frames.ClassifyTokens(7, ["x"], math.inf, 2, "one", "simple")
    (item,) = subject.prepare(request, call(7))
    item.output = np.full((len(item.tokens), len(LABELS)), np.nan, np.float32)
    with pytest.raises(Bug, match="no finite"):
        subject.tell(item)


def test_more_entities_than_a_message_holds(
    path_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_classification, "MAX_ENTITIES", 3)
    subject = task(path_of("word_piece"))
    for count, fits in ((3, True), (4, False)):
        request = frames.ClassifyTokens(7, ["x"] * count, math.inf, 2, "one", "none")
        items = subject.prepare(request, call(7, inputs=count))
        for item in items:
            item.output = np.zeros((len(item.tokens), len(LABELS)), np.float32)
            item.output[:, 1] = 9.0
        *_, last = items
        for item in items[:-1]:
            assert subject.tell(item) is None
        if fits:
            assert subject.tell(last) is not None
        else:
            with pytest.raises(InvalidInput, match="4 entities, and at most 3") as caught:
                subject.tell(last)
            assert caught.value.field == "inputs"


def test_another_tasks_request(path_of: Callable[[str], Path]) -> None:
    with pytest.raises(WrongTask):
        task(path_of("word_piece")).prepare(frames.Embed(7, ["x"], math.inf, 2, "one"), call(7))
