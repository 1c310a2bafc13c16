"""What an embedder's folder says of its pooling, and what of it is refused. No weight is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.registry.rules.safetensors_file import safetensors
from trine.artifact import Pooling, Task
from trine.errors import CheckpointRefused, NotACheckpoint, UnsafeCheckpoint, UnsupportedArchitecture
from trine.export.plan import inspect
from trine.export.sentence_transformer import Embedding, read

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
SWITCHES = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)


def config(*on: str) -> dict[str, Any]:
    switches = {f"pooling_mode_{name}": name in on for name in SWITCHES}
    return {"word_embedding_dimension": 8, "include_prompt": True} | switches


def write(
    folder: Path, modules: Any = MODULES, pooling: Any = None, settings: dict[str, Any] | None = None
) -> Path:
    """A folder that `inspect` takes, with the files of sentence-transformers."""
    (folder / "1_Pooling").mkdir(parents=True)
    _json(folder / "config.json", {"architectures": ["BertModel"]})
    (folder / "model.safetensors").write_bytes(safetensors({"a": [1]}))
    (folder / "vocab.txt").write_text("[UNK]\n")
    _json(folder / "modules.json", modules)
    _json(folder / "1_Pooling" / "config.json", config("mean_tokens") if pooling is None else pooling)
    if settings is not None:
        _json(folder / "sentence_bert_config.json", settings)
    return folder


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def test_a_plain_folder_is_a_mean_without_normalization(tmp_path: Path) -> None:
    assert read(tmp_path) == Embedding(Pooling.MEAN, normalize=False, max_tokens=None, files=())


@pytest.mark.parametrize(
    ("switch", "pooling"),
    [
        ("cls_token", Pooling.CLS),
        ("mean_tokens", Pooling.MEAN),
        ("max_tokens", Pooling.MAX),
        ("lasttoken", Pooling.LAST),
    ],
)
def test_each_pooling_by_its_switch_and_by_its_name(tmp_path: Path, switch: str, pooling: Pooling) -> None:
    assert read(write(tmp_path / "switch", pooling=config(switch))).pooling is pooling
    named = {"embedding_dimension": 8, "pooling_mode": switch.removesuffix("_token").removesuffix("_tokens")}
    assert read(write(tmp_path / "name", pooling=named)).pooling is pooling


def test_normalization_is_a_module(tmp_path: Path) -> None:
    assert read(write(tmp_path / "with")).normalize
    assert not read(write(tmp_path / "without", MODULES[:2])).normalize


def test_the_longest_text_is_read(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a", settings={"max_seq_length": 256, "do_lower_case": False}))
    assert found.max_tokens == 256
    assert [path.name for path in found.files] == ["modules.json", "config.json", "sentence_bert_config.json"]
    assert read(write(tmp_path / "b", settings={"max_seq_length": None})).max_tokens is None


@pytest.mark.parametrize(
    ("on", "modules"),
    [
        (["mean_sqrt_len_tokens"], MODULES),
        (["weightedmean_tokens"], MODULES),
        (["mean_tokens", "max_tokens"], MODULES),  # one beside the other: a longer embedding
        ([], MODULES),
        (["mean_tokens"], MODULES[:1]),
        (["mean_tokens"], [*MODULES[:2], MODULES[2] | {"type": "sentence_transformers.models.Dense"}]),
        (["mean_tokens"], [MODULES[0], MODULES[1] | {"type": "evil.Module"}]),
        (["mean_tokens"], [MODULES[0] | {"path": "0_Transformer"}, *MODULES[1:]]),
    ],
)
def test_what_would_be_another_embedding_is_refused(tmp_path: Path, on: list[str], modules: Any) -> None:
    with pytest.raises(UnsupportedArchitecture):
        inspect(write(tmp_path / "a", modules, config(*on)), None)


def test_a_prompt_before_every_text_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    prompts = folder / "config_sentence_transformers.json"
    _json(prompts, {"prompts": {"query": "query: "}, "default_prompt_name": None})
    assert prompts in read(folder).files, "part of what the embedding is read from"
    _json(prompts, {"prompts": {"query": "query: "}, "default_prompt_name": "query"})
    with pytest.raises(UnsupportedArchitecture, match="prompt"):
        read(folder)


def test_several_named_poolings_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, pooling={**config("mean_tokens"), "pooling_mode": ["cls", "mean"]})
    with pytest.raises(UnsupportedArchitecture, match="pooling"):
        read(folder)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    modules = [MODULES[0], {**MODULES[1], "path": "\ud800"}]
    with pytest.raises(CheckpointRefused):
        read(write(tmp_path, modules))


def test_texts_in_lower_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedArchitecture, match="lower case"):
        read(write(tmp_path / "a", settings={"do_lower_case": True}))


@pytest.mark.parametrize("path", ["..", ".", "", "../b", "/etc", "1_Pooling/..", "a\0b", "..\\b"])
def test_a_module_that_lies_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafeCheckpoint):
        read(write(tmp_path / "a", [MODULES[0], MODULES[1] | {"path": path}]))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    outside = tmp_path / "outside.json"
    _json(outside, config("mean_tokens"))
    (folder / "1_Pooling" / "config.json").unlink()
    (folder / "1_Pooling" / "config.json").symlink_to(outside)
    with pytest.raises(UnsafeCheckpoint):
        read(folder)


def test_a_pooling_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(NotACheckpoint, match="pooling"):
        read(folder)


@pytest.mark.parametrize(
    ("modules", "pooling"), [({}, None), (["a"], None), (MODULES, []), (MODULES, "mean")]
)
def test_files_of_another_shape_are_refused(tmp_path: Path, modules: Any, pooling: Any) -> None:
    with pytest.raises(CheckpointRefused):
        read(write(tmp_path / "a", modules, pooling))


def test_the_digest_knows_the_pooling_of_an_embedder(tmp_path: Path) -> None:
    found = inspect(write(tmp_path / "a"), None)
    assert found.task is Task.EMBEDDING
    same = inspect(write(tmp_path / "b"), None)
    assert found.digest == same.digest
    others = [
        inspect(write(tmp_path / "c", pooling=config("cls_token")), None),
        inspect(write(tmp_path / "d", MODULES[:2]), None),
        inspect(write(tmp_path / "e", settings={"max_seq_length": 3}), None),
    ]
    assert len({found.digest, *(other.digest for other in others)}) == 4
