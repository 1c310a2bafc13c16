"""The demo checkpoint `ner-en` over a real server: the entities of transformers' pipeline, and about the F1 of its model card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers

from tests.integration.server import CHECKPOINTS, ROOT, Server
from trine.client import Client
from trine.client.reading_answers import TokenClassification

POSTS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (ROOT / "tests" / "data" / "ner-held-out.jsonl").read_text(encoding="utf-8").splitlines()
]
TEXTS = [post["text"] for post in POSTS]
F1_FLOOR = 0.25
"""They give 0.39; the floor is far enough below that only a wrong checkpoint or wrong offsets fall under it."""


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that has registered the checkpoint in float32: the pipeline is compared within rounding."""
    folder = tmp_path_factory.mktemp("ner")
    with (
        Server(folder / "server", folder / "repository", engine_threads=1) as server,
        server.client() as client,
    ):
        steps = list(client.register("ner", CHECKPOINTS / "ner-en", precision="fp32"))
        version = steps[-1].version
        assert version is not None
        assert (version.state, version.task) == ("ready", "token-classification"), steps[-1].message
        yield client


@pytest.mark.parametrize("aggregation", ["simple", "first"])
def test_the_entities_are_the_pipelines(caller: Client, aggregation: Any) -> None:
    torch.set_num_threads(1)  # a second thread costs such small matrices more than it gives
    pipeline = transformers.pipeline(
        "token-classification",
        model=str(CHECKPOINTS / "ner-en"),
        dtype=torch.float32,
        device="cpu",
        aggregation_strategy=aggregation,
    )
    results = caller.classify_tokens("ner", TEXTS, aggregation=aggregation)
    count = 0
    for text, result in zip(TEXTS, results, strict=True):
        expected = pipeline(text)
        assert [(one.begin, one.end, one.label) for one in result.entities] == [
            (one["start"], one["end"], one["entity_group"]) for one in expected
        ], text
        assert [one.score for one in result.entities] == pytest.approx(
            [float(one["score"]) for one in expected], abs=1e-4
        )
        assert all(one.text == text[one.begin : one.end] for one in result.entities)
        count += len(expected)
    assert count > len(TEXTS) // 2, "hardly an entity was found, so that nothing was compared"


def test_f1_of_held_out_posts(caller: Client) -> None:
    assert f1(caller.classify_tokens("ner", TEXTS, aggregation="first")) > F1_FLOOR


def f1(results: list[TokenClassification]) -> float:
    """Of all entities: begin, end and type must be right."""
    right = total = 0
    for post, result in zip(POSTS, results, strict=True):
        wanted = {(one["begin"], one["end"], one["label"]) for one in post["entities"]}
        given = {(one.begin, one.end, one.label) for one in result.entities}
        right += len(wanted & given)
        total += len(wanted) + len(given)
    return 2 * right / total
