"""What a checkpoint's folder says of where it comes from: its model card, else its config. Front process, in a thread.

https://huggingface.co/docs/hub/model-cards-metadata names the card's fields. All of it is a stranger's word: bounded, printable, shown and
filtered by, and nothing else. What does not parse says nothing.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import yaml

from trine.errors import CallerError, CheckpointRefused
from trine.registry import references
from trine.registry.records import Lineage
from trine.registry.repository import Repository
from trine.registry.rules import documents

CARD = "README.md"
_MAX_CARD = 1 << 20
_MAX_FIELDS = 1 << 14
_MAX_ITEMS, _MAX_TEXT = 20, 200
_FIELDS = ("base_model", "license", "license_name", "datasets")
_SECTION = re.compile(r"^(?=[A-Za-z_])", re.MULTILINE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def read(folder: Path) -> Lineage:
    """Base, license and training data, as far as the folder tells; empty where it does not."""
    card = _card(folder / CARD)
    license = _text(card.get("license"))
    return Lineage(
        base_checkpoint=_text(card.get("base_model")) or _base_of_config(folder / "config.json"),
        training_data=_text(card.get("datasets")),
        license=(license == "other" and _text(card.get("license_name"))) or license,
    )


def merged(claims: Lineage, said: Lineage, come_from: Lineage, repository: Repository) -> Lineage:
    """The caller's claims before what the folder said; with the base's digest where the base is a version of this registry.

    `come_from` has the source, which this server knows itself. Nothing is its own base, as the config of a hub's repository may say.
    """
    if said.base_checkpoint == come_from.source:
        said = msgspec.structs.replace(said, base_checkpoint="")
    fields: dict[str, str] = {}
    for each in (said, claims, come_from):
        fields |= {name: value for name, value in msgspec.structs.asdict(each).items() if value}
    fields = msgspec.structs.asdict(Lineage()) | fields
    if not fields["base_digest"]:
        fields["base_digest"] = _digest(fields["base_checkpoint"], repository)
    return Lineage(**fields)


def _digest(base: str, repository: Repository) -> str:
    try:
        return repository.resolve(references.parse(base)).digest
    except CallerError:  # the hub's id, or a name that is not here
        return ""


def _card(path: Path) -> dict[str, Any]:
    """The wanted fields of the YAML between the card's first two lines of dashes.

    Only their own lines are parsed, and by the loader that makes strings, lists and mappings alone: it knows no merge keys, which
    grow without bound.
    """
    head, _, rest = _beginning(path).partition("\n")
    matter, end, _ = rest.partition("\n---")
    if head.strip() != "---" or not end:
        return {}
    sections = [part for part in _SECTION.split(matter) if part.partition(":")[0] in _FIELDS]
    try:
        fields = yaml.load("".join(sections)[:_MAX_FIELDS], Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _beginning(path: Path) -> str:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            content = file.read(_MAX_CARD)
    except OSError:
        return ""
    return content.decode(errors="replace").replace("\r\n", "\n")


def _text(value: Any) -> str:
    """One word or a list of them, in one line."""
    items = value if isinstance(value, list) else [value]
    words = [item for item in items[:_MAX_ITEMS] if isinstance(item, str)]
    return ", ".join(word for word in words if word.isprintable() and 0 < len(word) <= _MAX_TEXT)


def _base_of_config(path: Path) -> str:
    """What it was loaded from before it was trained, which older releases of transformers note; a path of their machine is none."""
    try:
        config = documents.read(path)
    except CheckpointRefused:
        return ""
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    return name if isinstance(name, str) and _HUB_ID.fullmatch(name) else ""
