"""Names that want to be paths, at every door of the repository: MLflow's and Triton's CVEs, and two thousand more."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.registry.test_repository import publish
from trine.errors import CheckpointNotFound, InvalidInput
from trine.registry.references import parse
from trine.registry.repository import Repository

PIECES = [
    *(
        "..",
        ".",
        "/",
        "\\",
        "%2e%2e",
        "%252e",
        "%2f",
        "\0",
        "\u202e",
        "\u2024",
        "\uff0e",
        "\n",
        " ",
        "~",
        "$HOME",
    ),
    *(
        "a",
        "A",
        "-",
        "_",
        "C:",
        "CON",
        "/etc/passwd",
        "/dev/zero",
        "file://",
        "a" * 64,
        "é",
        "a@",
        "@",
        ":",
        ":1",
    ),
]
DOORS: dict[str, Callable[[Repository, str], object]] = {
    "refresh": Repository.refresh,
    "reserve": Repository.reserve,
    "set_alias": lambda repository, name: repository.set_alias(name, "x", 1),
    "an alias": lambda repository, name: repository.set_alias("a", name, 1),
    "delete_alias": lambda repository, name: repository.delete_alias(name, "x"),
    "delete_checkpoint": Repository.delete_checkpoint,
}


def hostile() -> list[str]:
    """Whatever has a letter that no name has, or two dots in a row."""
    made = random.Random(5)
    found = {"".join(made.choices(PIECES, k=made.randint(1, 5))) for _ in range(4000)}
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    return sorted(name for name in found if not set(name) <= allowed or ".." in name)[:2000]


@pytest.mark.parametrize("door", DOORS)
def test_no_name_leads_out_of_the_repository(tmp_path: Path, door: str) -> None:
    root = tmp_path / "outside" / "repository"
    repository = Repository(root)
    publish(repository, "a")
    (tmp_path / "outside" / "aliases.json").write_text('{"x": 1}')
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    names = hostile()
    assert len(names) == 2000
    for name in names:
        with pytest.raises(InvalidInput):
            DOORS[door](repository, name)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_no_reference_to_such_a_name_is_one() -> None:
    for name in hostile():
        for text in (name, f"{name}:1", f"a@{name}", f"a:{name}"):
            try:
                reference = parse(text)
            except InvalidInput:
                continue
            assert "@" in name or ":" in name, f"{text!r} became {reference}"


def test_a_name_that_is_one_and_is_not_there(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for door in ("set_alias", "delete_alias", "delete_checkpoint"):
        with pytest.raises(CheckpointNotFound):
            DOORS[door](repository, "b")
    assert not (tmp_path / "b").exists()
