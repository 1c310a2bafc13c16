"""What the server answers over gRPC is what the checkpoint answers in PyTorch, on text that neither training nor gate has seen."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.integration.server import CHECKPOINTS, ROOT
from trine.artifact import open_artifact
from trine.client import Client
from trine.export import checkpoint
from trine.export.plan import inspect
from trine.export.reference import Continuation, Reference

# Without sacremoses MarianTokenizer leaves punctuation as it is, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

NEW_TOKENS = 64
TIE = 1e-5
"""Two best logits closer than this, relative to the row's largest, may come either way round (docs/decisions/0004)."""


def lines(name: str, count: int) -> list[str]:
    text = (ROOT / "tests" / "data" / name).read_text(encoding="utf-8")
    return [json.loads(line)["text"] for line in text.splitlines()[:count]]


def reference(folder: Path, artifact_folder: Path) -> Reference:
    torch.set_num_threads(1)  # a second thread costs such small matrices more than it gives
    loaded = checkpoint.load(folder, inspect(folder, None))
    return Reference(loaded, open_artifact(artifact_folder).manifest.generation)


def parts_at_tie(ours: str, answer: Continuation, reference: Reference, suppressed: tuple[int, ...]) -> bool:
    """Whether the first token whose text is not ours was chosen between two that are as good as equal."""
    for place in range(len(answer.tokens)):
        if not ours.startswith(reference.text(answer.tokens[: place + 1]).rstrip("�")):
            row = answer.logits[place].astype(np.float64)
            scale = np.abs(row).max()
            row[list(suppressed)] = -np.inf
            second, best = np.partition(row, -2)[-2:]
            return bool(best - second < TIE * scale)
    return False


def check(client: Client, repository: Path, name: str, folder: str, texts: list[str]) -> None:
    artifact_folder = repository / name / "1" / "artifact"
    generation = open_artifact(artifact_folder).manifest.generation
    assert generation is not None
    original = reference(CHECKPOINTS / folder, artifact_folder)
    # Whole, as the checkpoint gets it: two sentences together may read otherwise than one by one.
    whole = functools.partial(client.translate, split="none")
    call: Callable[..., Any] = whole if name == "en-fr" else client.generate
    ties = 0
    for begin in range(0, len(texts), 50):
        batch = texts[begin : begin + 50]
        results = call(name, batch, max_new_tokens=NEW_TOKENS)
        for text, result in zip(batch, results, strict=True):
            (ids,) = original.token_ids([text])
            answer = original.greedy(ids, NEW_TOKENS, to_the_end=False)
            visible = [token for token in answer.tokens if token not in generation.eos_ids]
            if result.text.strip() != original.text(visible).strip():
                assert parts_at_tie(result.text, answer, original, generation.suppressed_ids), text
                ties += 1
            else:
                assert result.usage.output_tokens == len(answer.tokens)
    assert ties <= max(1, len(texts) // 1000)


def test_a_few_held_out_texts(client: Client, repository: Path) -> None:
    check(client, repository, "verse", "verse", lines("verse-held-out.jsonl", 3))
    check(client, repository, "en-fr", "en-fr", lines("en-fr-held-out.jsonl", 10))


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_50_held_out_prompts_and_1000_held_out_sentences(client: Client, repository: Path) -> None:
    check(client, repository, "verse", "verse", lines("verse-held-out.jsonl", 50))
    check(client, repository, "en-fr", "en-fr", lines("en-fr-held-out.jsonl", 1000))
