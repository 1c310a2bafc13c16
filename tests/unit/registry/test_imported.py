"""An artifact from others: the good one is opened, each of the evil set is refused with a reason that names the file and the rule."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.registry.evil import SPEAKING, Evil, named, require
from tests.unit.registry.evil_artifacts import ALL, GRAPH, MANIFEST, TOKENIZER, good, resealed
from trine.artifact import Task
from trine.errors import ArtifactCorrupt, CheckpointRefused, UnsafeCheckpoint
from trine.registry import imported
from trine.registry.rules import graphs, tokenizer_json, vocabularies


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good(tmp_path / "artifact")


def test_the_good_one_is_opened(folder: Path) -> None:
    found = imported.check(folder)
    assert found.folder == folder
    assert found.manifest.task is Task.CLASSIFICATION


@pytest.mark.parametrize("evil", ALL, ids=named)
def test_it_is_refused(folder: Path, evil: Evil) -> None:
    evil.spoil(folder)
    with pytest.raises(CheckpointRefused) as refusal:
        imported.check(folder)
    require(evil, refusal.value)


def test_there_is_a_set() -> None:
    assert len({evil.name for evil in ALL}) >= 60


@pytest.mark.parametrize(
    ("module", "bound", "most", "reason"),
    [
        (graphs, "MAX_BYTES", 100, r"model\.onnx is larger than"),
        (graphs, "MAX_NODES", 1, r"model\.onnx has no nodes, or more than 1"),
        (tokenizer_json, "MAX_BYTES", 100, r"tokenizer\.json is larger than"),
        (vocabularies, "MAX_ENTRIES", 1, r"tokenizer\.json has a vocabulary of more than 1 entries"),
        (imported, "_MAX_REPORT", 10, r"report\.json is larger than"),
        (imported, "_MAX_MANIFEST", 10, r"manifest\.json is larger than"),
    ],
)
def test_files_are_bounded(
    folder: Path, module: ModuleType, bound: str, most: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, bound, most)
    with pytest.raises(UnsafeCheckpoint, match=reason):
        imported.check(folder)


def test_what_is_no_folder_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt):
        imported.check(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "seed", [*range(30), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(30, 3000))]
)
def test_flipped_bits_are_refused_or_read_and_break_nothing(folder: Path, seed: int) -> None:
    """The maker of the artifact flipped them, so every hash is right. Whatever is no refusal of ours fails the test."""
    drawn = random.Random(seed)
    for _ in range(drawn.randrange(1, 6)):
        path = folder / drawn.choice((GRAPH, TOKENIZER))
        content = bytearray(path.read_bytes())
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        path.write_bytes(content)
    resealed(folder)
    said = ""
    try:
        imported.check(folder)
    except CheckpointRefused as refusal:
        said = refusal.message
    assert not SPEAKING.search(said)


async def test_a_process_of_its_own_says_the_same(folder: Path) -> None:
    assert (await imported.check_apart(folder)).manifest == imported.check(folder).manifest
    (folder / MANIFEST).write_text(
        json.dumps(json.loads((folder / MANIFEST).read_text()) | {"vocab_size": -1})
    )
    with pytest.raises(UnsafeCheckpoint, match="vocab_size"):
        await imported.check_apart(folder)


async def test_a_check_that_dies_is_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported, "__name__", "trine.no_such_module")
    with pytest.raises(ArtifactCorrupt, match="without a verdict"):
        await imported.check_apart(folder)


async def test_a_check_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / GRAPH).unlink()
    os.mkfifo(folder / GRAPH)
    monkeypatch.setattr(imported, "_TIMEOUT", 0.0)
    with pytest.raises(ArtifactCorrupt, match="too long"):
        await imported.check_apart(folder)
