"""A second version of a demo checkpoint, whose answers tell it from the first: the same graphs under another manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from trine import artifact
from trine.artifact import Manifest
from trine.registry.layout import ARTIFACT, RECORD
from trine.registry.records import Record


def add_version(repository: Path, name: str, change: Callable[[Manifest], Manifest]) -> None:
    """NAME:2 beside NAME:1; `live` stays. No server may run on the repository meanwhile."""
    first, second = repository / name / "1", repository / name / "2"
    shutil.copytree(first, second)
    rewrite(second / ARTIFACT, change)
    record = msgspec.json.decode((second / RECORD).read_bytes(), type=Record)
    (second / RECORD).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(record, number=2, digest="another", manifest_sha256=""))
    )


def rewrite(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    """The artifact's manifest, where it lies."""
    path = folder / artifact.MANIFEST
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    path.write_bytes(msgspec.json.encode(change(manifest)))


def with_other_labels(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, labels=tuple(f"second {label}" for label in manifest.labels))


def without_tokens(*ids: int) -> Callable[[Manifest], Manifest]:
    """A generation checkpoint that never writes some tokens."""

    def change(manifest: Manifest) -> Manifest:
        assert manifest.generation is not None
        suppressed = (*manifest.generation.suppressed_ids, *ids)
        generation = msgspec.structs.replace(manifest.generation, suppressed_ids=suppressed)
        return msgspec.structs.replace(manifest, generation=generation)

    return change
