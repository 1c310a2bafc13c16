"""What a checkpoint folder is told to be, without anything of it being run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.registry.rules.safetensors_file import safetensors
from trine.artifact import Family, Precision, Task
from trine.errors import NotACheckpoint, UnsafeCheckpoint, UnsupportedArchitecture, WrongTask
from trine.export import plan
from trine.export.plan import ExportPlan, inspect
from trine.registry.architectures import ARCHITECTURES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that `inspect` accepts."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    configure(folder)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "tokenizer.json").write_text("{}")
    return folder


WEIGHTS = safetensors({"a": [2, 3]})


def configure(folder: Path, **fields: Any) -> None:
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"} | fields
    (folder / "config.json").write_text(json.dumps(config))


def test_a_checkpoint_is_read_off_its_config(folder: Path) -> None:
    info = inspect(folder, None)
    assert (info.architecture, info.family, info.task) == (
        "BertForSequenceClassification",
        Family.ENCODER,
        Task.CLASSIFICATION,
    )
    assert info.weight_bytes == len(WEIGHTS)
    assert len(info.digest) == 64


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_every_row_of_the_table_is_accepted_with_its_default_task(folder: Path, row: Any) -> None:
    configure(folder, architectures=[row.name])
    info = inspect(folder, None)
    assert (info.family, info.task) == (row.family, row.default_task)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("DebertaForTokenClassification", "versions 2 and 3"),
        ("DebertaV2ForMaskedLM", "supported are BertForSequenceClassification, "),
        ("MPNetModel", "attention"),
        ("LongformerModel", "supported are BertForSequenceClassification, "),
    ],
)
def test_what_is_not_in_the_table_is_refused_with_a_reason(folder: Path, name: str, reason: str) -> None:
    configure(folder, architectures=[name])
    with pytest.raises(UnsupportedArchitecture, match=f"{name} is not supported.*{reason}"):
        inspect(folder, None)


def test_the_digest_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    before = inspect(folder, None).digest
    assert inspect(folder, Task.CLASSIFICATION).digest == before
    moved = folder.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("a model card decides nothing")
    assert inspect(moved, None).digest == before


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "probes.jsonl"]
)
def test_the_digest_changes_with_each_file_that_decides_the_artifact(folder: Path, name: str) -> None:
    before = inspect(folder, None).digest
    if name.endswith(".safetensors"):
        (folder / name).write_bytes(WEIGHTS[:-1] + b"\1")
    else:
        content = (folder / name).read_text() if (folder / name).exists() else "{}"
        (folder / name).write_text(content + " ")
    assert inspect(folder, None).digest != before


def test_the_digest_changes_with_the_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inspect(folder, None).digest
    monkeypatch.setattr(plan, "RECIPE", "next")
    assert inspect(folder, None).digest != before


def test_what_is_no_checkpoint_is_refused(folder: Path) -> None:
    with pytest.raises(NotACheckpoint, match="does not exist"):
        inspect(folder / "nowhere", None)
    with pytest.raises(NotACheckpoint, match="does not exist"):
        inspect(folder / "config.json", None)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotACheckpoint, match="no tokenizer"):
        inspect(folder, None)
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotACheckpoint, match="no weights"):
        inspect(folder, None)
    (folder / "config.json").unlink()
    with pytest.raises(NotACheckpoint, match=r"no config\.json"):
        inspect(folder, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "[" * 100_000, "\udcff"])
def test_a_config_that_does_not_parse_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises((NotACheckpoint, UnsafeCheckpoint), match=r"config\.json"):
        inspect(folder, None)


@pytest.mark.parametrize("names", [None, [], "BertForSequenceClassification", ["A", "B"], [1]])
def test_a_config_without_one_architecture_is_refused(folder: Path, names: Any) -> None:
    configure(folder, architectures=names)
    with pytest.raises(NotACheckpoint, match="exactly one architecture"):
        inspect(folder, None)


def test_an_architecture_outside_the_table_is_refused_with_those_inside(folder: Path) -> None:
    configure(folder, architectures=["GPTJForCausalLM"])
    with pytest.raises(UnsupportedArchitecture) as refusal:
        inspect(folder, None)
    assert "GPTJForCausalLM" in refusal.value.message
    for name in ARCHITECTURES:
        assert name in refusal.value.message


def test_text_of_a_hostile_config_is_not_repeated(folder: Path) -> None:
    configure(folder, architectures=["<script>alert(1)</script>"])
    with pytest.raises(UnsupportedArchitecture) as refusal:
        inspect(folder, None)
    assert "script" not in refusal.value.message


def test_quantized_weights_are_refused(folder: Path) -> None:
    configure(folder, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(UnsupportedArchitecture, match="quantized"):
        inspect(folder, None)


def test_a_task_that_the_architecture_does_not_do_is_refused(folder: Path) -> None:
    with pytest.raises(WrongTask, match="classification"):
        inspect(folder, Task.TRANSLATION)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.ckpt"])
def test_pickle_weights_alone_are_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"pickle")
    inspect(folder, None)  # beside safetensors they are not read
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsafeCheckpoint, match="pickle"):
        inspect(folder, None)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_checkpoint_is_refused(folder: Path, name: str) -> None:
    fields = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoModel": "modeling.Model"}}
    (folder / name).write_text(json.dumps(fields))
    with pytest.raises(UnsafeCheckpoint, match="auto_map"):
        inspect(folder, None)


def test_links_out_of_the_folder_are_refused_and_links_inside_are_not(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "blob")
    (folder / "model.safetensors").symlink_to("blob")
    inspect(folder, None)
    (tmp_path / "secret").write_text("secret")
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeCheckpoint, match=r"notes\.txt"):
        inspect(folder, None)


def test_sharded_weights_count_as_a_whole(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / names[0]).write_bytes(safetensors({"a": [1], "c": [2]}))
    with pytest.raises(NotACheckpoint, match="lacks"):
        inspect(folder, None)
    (folder / names[1]).write_bytes(safetensors({"b": [3]}))
    assert inspect(folder, None).weight_bytes == sum((folder / name).stat().st_size for name in names)
    (folder / names[1]).write_bytes(safetensors({"d": [3]}))
    with pytest.raises(NotACheckpoint, match="does not say where the tensors are"):
        inspect(folder, None)
    (folder / names[1]).write_bytes(safetensors({"b": [3], "a": [1]}))
    with pytest.raises(UnsafeCheckpoint, match="another file has too"):
        inspect(folder, None)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "", None, 3])
def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path, shard: Any) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(NotACheckpoint):
        inspect(folder, None)


def test_a_plan_survives_its_way_to_the_child(tmp_path: Path) -> None:
    sent = ExportPlan(
        tmp_path / "a b", tmp_path / "é", Task.GENERATION, Precision.FP32, digest="d", threads=2
    )
    assert ExportPlan.from_json(sent.to_json()) == sent
    assert "\n" not in sent.to_json()
    unset = ExportPlan(tmp_path, tmp_path)
    assert ExportPlan.from_json(unset.to_json()) == unset


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000])
def test_a_path_that_no_system_takes_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotACheckpoint) as caught:
        inspect(tmp_path / name, None)
    assert caught.value.field == "path"


def test_a_loop_of_links_is_no_checkpoint(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    with pytest.raises(NotACheckpoint):
        inspect(folder, None)
