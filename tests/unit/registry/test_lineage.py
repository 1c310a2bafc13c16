"""What a folder says of its origin, and that nothing a stranger writes there costs or breaks anything."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from trine.artifact import Family, Precision, Task
from trine.registry import lineage
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.repository import Repository

CARD = """---
language: en
base_model: google-bert/bert-mini  # as the hub writes it
license: apache-2.0
datasets:
- rotten_tomatoes
- "imdb"
model-index:
- name: x
  results: [{license: wrong}]
---
# x

license: of the text
"""


def folder(path: Path, card: str = "", **config: object) -> Path:
    (path / "README.md").write_text(card)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_the_card_is_read(tmp_path: Path) -> None:
    assert lineage.read(folder(tmp_path, CARD)) == Lineage(
        base_checkpoint="google-bert/bert-mini", license="apache-2.0", training_data="rotten_tomatoes, imdb"
    )


def test_flow_lists_windows_lines_and_other_licenses(tmp_path: Path) -> None:
    card = "---\nbase_model: [a/b, c/d]\nlicense: other\nlicense_name: llama3\n---\n".replace("\n", "\r\n")
    assert lineage.read(folder(tmp_path, card)) == Lineage(base_checkpoint="a/b, c/d", license="llama3")


def test_the_card_goes_before_the_config(tmp_path: Path) -> None:
    found = lineage.read(folder(tmp_path, CARD, _name_or_path="org/of-config"))
    assert found.base_checkpoint == "google-bert/bert-mini"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("org/base", "org/base"),
        ("/home/me/out", ""),
        ("./out", ""),
        ("../a/b", ""),
        ("", ""),
        (7, ""),
        ("a\nb/c", ""),
    ],
)
def test_the_config_names_a_base_of_the_hub_or_none(tmp_path: Path, name: object, base: str) -> None:
    assert lineage.read(folder(tmp_path, "# no front matter\n", _name_or_path=name)).base_checkpoint == base


BOMB = "---\nlicense_name: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"base_model: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "card",
    [
        "---\nlicense: [\n---\n",
        "---\nlicense: mit\n",
        "---\nlicense: " + "[" * 10_000 + "\n---\n",
        BOMB + "---\n",
        "---\nlicense: {a: b}\ndatasets: {c: d}\n---\n",
        "---\nlicense: !!python/object/apply:os.system [id]\n---\n",
        "---\nlicense: " + "x" * 201 + "\n---\n",
        '---\nlicense: "a\\nb"\n---\n',
        "---\n- a\n---\n",
        "\0\n---\n",
    ],
)
def test_what_does_not_parse_says_nothing(tmp_path: Path, card: str) -> None:
    assert lineage.read(folder(tmp_path, card)) in {Lineage(), Lineage(license="id")}


def test_no_other_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("---\nlicense: secret\n---\n")
    (tmp_path / "README.md").symlink_to("secret")
    (tmp_path / "config.json").write_text("nonsense")
    assert lineage.read(tmp_path) == Lineage()
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert lineage.read(tmp_path) == Lineage()


def test_claims_go_first_and_a_base_of_the_registry_has_a_digest(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    with repository.reserve("base") as reservation:
        reservation.staging.mkdir()
        reservation.publish(
            Record(
                *("base", 1, VersionState.READY, "BertModel", Family.ENCODER, Task.EMBEDDING, Precision.FP32),
                digest="of the base",
                create_time=time.time(),
            )
        )
    repository.set_alias("base", "live", 1)
    said = Lineage(base_checkpoint="org/base", license="mit")
    for base, digest in [("base:1", "of the base"), ("base", "of the base"), ("base:2", ""), ("", "")]:
        found = lineage.merged(Lineage(base_checkpoint=base), said, Lineage(source="x"), repository)
        assert found == Lineage(base or "org/base", digest, license="mit", source="x")
    own = lineage.merged(Lineage(), said, Lineage(source="org/base"), repository)
    assert own.base_checkpoint == ""
