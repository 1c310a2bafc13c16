"""The files of an artifact that somebody hands us, copied to where nobody else can write before they are checked. Front process, in a thread."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trine import artifact
from trine.artifact import MANIFEST
from trine.errors import ArtifactCorrupt, UnsafeCheckpoint
from trine.registry import layout
from trine.registry.imported import MAX_FILES, not_plain, require_plain
from trine.registry.rules.names import shown_file

_CHUNK = 1 << 20


def size(folder: Path) -> int:
    """Bytes that a copy takes. Raises ArtifactCorrupt for a folder that cannot be read or is none of an artifact."""
    try:
        names = _names(folder)
        return sum(os.lstat(folder / name).st_size for name in names)
    except OSError as error:
        raise ArtifactCorrupt("the artifact's folder cannot be read", field="path") from error


def copy(folder: Path, staging: Path) -> None:
    """Every file of `folder` into the new folder `staging`, and all of it on the disk.

    No link is followed: what is opened is a plain file with one name. Raises ArtifactCorrupt, UnsafeCheckpoint, and RepositoryFull.
    """
    with layout.writing():
        staging.mkdir()
    try:
        names = _names(folder)
    except OSError as error:
        raise ArtifactCorrupt("the artifact's folder cannot be read", field="path") from error
    for name in names:
        with (
            open(_open(folder / name), "rb") as file,
            layout.writing(),
            (staging / name).open("xb") as target,
        ):
            shutil.copyfileobj(file, target, _CHUNK)
            target.flush()
            os.fsync(target.fileno())
    artifact.sync(staging)


def _names(folder: Path) -> list[str]:
    names = sorted(os.listdir(folder))
    if MANIFEST not in names:
        raise ArtifactCorrupt(f"the folder has no {MANIFEST}: it is not an artifact", field="path")
    if len(names) > MAX_FILES:
        raise UnsafeCheckpoint(f"the artifact has more than {MAX_FILES} files")
    return names


def _open(path: Path) -> int:
    """A descriptor; what was opened is asked what it is, not its name, which can be given to another file in between."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if path.is_symlink():
            raise not_plain(path.name) from error
        raise ArtifactCorrupt(f"{shown_file(path.name)} cannot be read") from error
    try:
        require_plain(os.fstat(descriptor), path.name)
    except UnsafeCheckpoint:
        os.close(descriptor)
        raise
    return descriptor
