"""Summaries: what an exported artifact writes, against transformers with the same checkpoint."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from tests.unit.export import architectures
    from tests.unit.export.architectures import CONTEXT
    from tests.unit.export.conftest import Exported, export
    from tests.unit.export.engine import generate, prepared
    from trine.artifact import Precision, Task
    from trine.errors import InvalidInput, NotACheckpoint
    from trine.export import probes
    from trine.export.checkpoint import load
    from trine.export.manifest import describe
    from trine.export.plan import inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

TEXTS = ("The ferry leaves at noon. It is late!", "Yes.", "Where are the keys?")
PREFIX = "summarize: "
T5_TASKS = {
    "summarization": {"prefix": PREFIX, "min_length": 30, "num_beams": 4},
    "translation_en_to_de": {"prefix": "x"},
}


@pytest.fixture(scope="module", autouse=True)
def few_probes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "PLAIN", probes.PLAIN[3:9])
        yield


Exporter = Callable[..., Exported]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Exports an architecture for a task when it is first asked for."""
    known: dict[tuple[str, Task | None], Exported] = {}

    def find(name: str, task: Task | None, **changes: Any) -> Exported:
        if (name, task) not in known:
            root = tmp_path_factory.mktemp(name)
            known[name, task] = export(
                lambda folder: architectures.build(name, folder, **changes), root, task
            )
        return known[name, task]

    return find


def theirs(folder: Path, text: str) -> list[int]:
    """What transformers' greedy search writes."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    inputs = torch.tensor([tokenizer(text).input_ids])
    with torch.inference_mode():
        (written,) = model.generate(inputs, max_new_tokens=12, num_beams=1, forced_eos_token_id=None)
    tokens: list[int] = written[1:].tolist()
    return tokens


@pytest.mark.parametrize(("name", "prefix"), [("t5", PREFIX), ("bart", "")])
def test_a_summary_is_what_the_checkpoint_writes(exported: Exporter, name: str, prefix: str) -> None:
    changes = {"task_specific_params": T5_TASKS} if name == "t5" else {"tie_word_embeddings": False}
    found = exported(name, Task.SUMMARIZATION, **changes)
    assert found.report.passed, found.report.reason
    manifest = found.artifact.manifest
    assert manifest.task is Task.SUMMARIZATION
    assert manifest.generation is not None
    assert manifest.generation.input_prefix == prefix
    answers, written = generate(found.artifact, *TEXTS)
    assert written == [theirs(found.folder, prefix + text) for text in TEXTS]
    assert len({answer.text for answer in answers}) > 1
    assert [answer.usage.input_tokens for answer in answers] == [len(prefix + text) + 1 for text in TEXTS]
    assert all(answer.segments == [] for answer in answers)


def test_the_prefix_is_put_once(exported: Exporter) -> None:
    found = exported("t5", Task.SUMMARIZATION, task_specific_params=T5_TASKS)
    (one, other), _ = generate(found.artifact, "Yes.", PREFIX + "Yes.")
    assert (one.text, one.usage) == (other.text, other.usage)


def test_a_text_beyond_the_context_is_refused_whole(exported: Exporter) -> None:
    found = exported("t5", Task.SUMMARIZATION, task_specific_params=T5_TASKS)
    fits = CONTEXT - len(PREFIX) - 1
    assert prepared(found.artifact, "a" * fits)
    with pytest.raises(
        InvalidInput, match=f"{CONTEXT + 1} tokens, and the checkpoint reads at most {CONTEXT}"
    ) as caught:
        prepared(found.artifact, "a", "a" * (fits + 1))
    assert caught.value.field == "inputs[1].text"


def test_which_task_is_the_default(tmp_path: Path) -> None:
    defaults = {
        name: inspect(architectures.build(name, tmp_path / name), None).task
        for name in ("bart", "pegasus", "t5", "mbart")
    }
    assert defaults == {
        "bart": Task.SUMMARIZATION,
        "pegasus": Task.SUMMARIZATION,
        "t5": Task.TRANSLATION,
        "mbart": Task.TRANSLATION,
    }


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({"prefix": " "}, " "),
        ({"prefix": "a", "task_specific_params": T5_TASKS}, PREFIX),
        ({"task_specific_params": 5}, ""),
    ],
)
def test_where_the_prefix_comes_from(tmp_path: Path, settings: dict[str, Any], prefix: str) -> None:
    assert _prefix(tmp_path, Task.SUMMARIZATION, settings) == prefix
    assert _prefix(tmp_path, Task.TRANSLATION, settings) == ""


def test_a_prefix_is_a_short_text(tmp_path: Path) -> None:
    for wrong in (5, "a" * 257):
        with pytest.raises(NotACheckpoint, match="prefix"):
            _prefix(tmp_path, Task.SUMMARIZATION, {"prefix": wrong})


def _prefix(folder: Path, task: Task, settings: dict[str, Any]) -> str:
    architectures.build("bart", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    generation = describe(load(folder, inspect(folder, task)), Precision.FP32).generation
    assert generation is not None
    return generation.input_prefix
