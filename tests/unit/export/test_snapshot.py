"""The export works on a copy of what was checked, whatever happens to the original."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.registry.rules.safetensors_file import safetensors
from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.export import snapshot
from trine.export.plan import ExportPlan, inspect, relevant_files


@pytest.fixture
def plan(tmp_path: Path) -> ExportPlan:
    folder = tmp_path / "checkpoint"
    (folder / "1_Pooling").mkdir(parents=True)
    config = {
        "architectures": ["BertModel"],
        "_name_or_path": "x",
        "label2id": {"_": 0},
        "attn_implementation": "sdpa",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors({"a": [1]}))
    (folder / "vocab.txt").write_text("[UNK]\n")
    (folder / "tokenizer_config.json").write_text(
        '{"vocab_file": "/etc/passwd", "unk_token": {"__type": "AddedToken"}}'
    )
    (folder / "training_args.bin").write_bytes(b"\x80\x04N.")
    modules = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "_name_or_path": "x"}'
    )
    return ExportPlan(folder, tmp_path / "staging", digest=inspect(folder, None).digest)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_decides_the_artifact_is_copied(plan: ExportPlan) -> None:
    with snapshot.taken(plan) as (folder, info):
        assert names(folder) == names(plan.checkpoint) - {"training_args.bin"}
        assert info.digest == plan.digest
        assert folder.parent == plan.staging.parent
    assert not folder.exists()


def test_configs_lose_what_says_nothing(plan: ExportPlan) -> None:
    with snapshot.taken(plan) as (folder, _):
        config = json.loads((folder / "config.json").read_text())
        assert config == {"architectures": ["BertModel"], "label2id": {"_": 0}}
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        assert tokenizer == {"unk_token": {"__type": "AddedToken"}}
        assert json.loads((folder / "1_Pooling" / "config.json").read_text()) == {
            "pooling_mode_cls_token": True
        }


def test_what_changes_afterwards_changes_nothing(plan: ExportPlan) -> None:
    before = (plan.checkpoint / "model.safetensors").read_bytes()
    with snapshot.taken(plan) as (folder, _):
        (plan.checkpoint / "model.safetensors").write_bytes(b"other")
        (plan.checkpoint / "modeling.py").write_text("raise SystemExit")
        assert (folder / "model.safetensors").read_bytes() == before
        assert not (folder / "modeling.py").exists()


def test_what_changed_before_is_refused(plan: ExportPlan) -> None:
    (plan.checkpoint / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(NotACheckpoint, match="changed after they were read"), snapshot.taken(plan):
        pass


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "nothing"])
def test_a_name_that_becomes_something_else_is_refused(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """Between the look at the folder and the reading of the file."""
    vocab, secret = plan.checkpoint / "vocab.txt", tmp_path / "secret"
    secret.write_text("secret")

    def change(folder: Path, task: None) -> list[Path]:
        found = relevant_files(folder, task)
        vocab.unlink()
        if kind == "link":
            vocab.symlink_to(secret)
        elif kind == "hard link":
            os.link(secret, vocab)
        elif kind == "pipe":
            os.mkfifo(vocab)
        return found

    monkeypatch.setattr(snapshot, "relevant_files", change)
    with (
        pytest.raises((UnsafeCheckpoint, NotACheckpoint), match=r"vocab\.txt (became|vanished)"),
        snapshot.taken(plan),
    ):
        pass
    assert list(plan.staging.parent.glob(".checkpoint-*")) == []
