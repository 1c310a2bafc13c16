"""Every checkpoint of the evil set that needs no export is refused, with a reason that names the file and the rule."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest

from tests.unit.export.evil_checkpoints import LOADED, READ, TOKENIZERS, bit_flips, with_keys
from tests.unit.registry.evil import SPEAKING, Evil, named, require
from trine.errors import CheckpointRefused
from trine.export.plan import inspect
from trine.registry.rules import tokenizer_json

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trine.export import checkpoint, tokenizer, trial

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

GOOD = Path(__file__).parents[3] / "examples" / "checkpoints" / "sentiment-en"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOOD, tmp_path / "checkpoint"))


def test_the_good_one_passes(folder: Path) -> None:
    inspect(folder, None)
    tokenizer.check(folder, lambda *_: None, trial.end_process)


def test_there_is_a_set() -> None:
    assert len({evil.name for evil in (*READ, *TOKENIZERS, *LOADED)}) >= 60


@pytest.mark.parametrize("evil", READ, ids=named)
def test_what_the_server_reads_is_refused(folder: Path, evil: Evil) -> None:
    evil.spoil(folder)
    with pytest.raises(CheckpointRefused) as refusal:
        inspect(folder, None)
    require(evil, refusal.value)


@pytest.mark.parametrize("evil", TOKENIZERS, ids=named)
def test_a_tokenizer_is_refused_by_its_parts(folder: Path, evil: Evil) -> None:
    evil.spoil(folder)
    inspect(folder, None)
    with pytest.raises(CheckpointRefused) as refusal:
        tokenizer.check(folder, lambda *_: None, trial.end_process)
    require(evil, refusal.value)


@pytest.mark.parametrize("evil", LOADED, ids=named)
def test_weights_are_refused_once_they_are_loaded(folder: Path, evil: Evil) -> None:
    evil.spoil(folder)
    with pytest.raises(CheckpointRefused) as refusal:
        checkpoint.load(folder, inspect(folder, None))
    require(evil, refusal.value)


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(20, 2000))]
)
def test_flipped_bits_are_refused_or_read_and_break_nothing(folder: Path, seed: int) -> None:
    """Whatever is no refusal of ours fails the test."""
    bit_flips(seed)(folder)
    said = ""
    try:
        inspect(folder, None)
        tokenizer_json.check(folder / "tokenizer.json", quadratic=True)
    except CheckpointRefused as refusal:
        said = refusal.message
    assert not SPEAKING.search(said)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (
            "config.json",
            {"_name_or_path": "google/bert", "_commit_hash": None, "_attn_implementation_autoset": True},
        ),
        (
            "config.json",
            {"_num_labels": 2, "_diffusers_version": "0.1", "attn_implementation": "flash_attention_2"},
        ),
        ("config.json", {"label2id": {"__label__1": 0, "_": 1}, "id2label": {"0": "__label__1", "1": "_"}}),
        ("config.json", {"auto_map": None, "name_or_path": "/elsewhere/x"}),
        ("generation_config.json", {"_from_model_config": True}),
        (
            "tokenizer_config.json",
            {"name_or_path": "x", "special_tokens_map_file": "/elsewhere/x", "tokenizer_file": None},
        ),
        ("special_tokens_map.json", {"unk_token": {"content": "[UNK]", "__type": "AddedToken"}}),
    ],
)
def test_what_the_hub_is_full_of_is_taken(folder: Path, name: str, keys: dict[str, object]) -> None:
    with_keys(name, **keys)(folder)
    inspect(folder, None)
    assert json.loads((folder / name).read_text()).items() >= keys.items()
