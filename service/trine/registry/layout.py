"""How a name lies on disk, how it is read, and the few steps that change it whole or not at all. Front process, any thread.

NAME/aliases.json          {"live": 2}, replaced atomically
NAME/2/record.json         a published version: never changes; whoever has it loaded holds a shared lock on this file
NAME/2/artifact/           its artifact; a FAILED version has only record.json and report.json
NAME/2/sweeps/             how fast engines found it on their machines: theirs alone, and no part of the version
NAME/.3/                   a registration that runs: the same files, renamed to NAME/3 in one step when they are complete
NAME/.3/.lock              held by the registering process; whoever can lock it may sweep the folder away
NAME/.deleted-1/           an empty mark, so that no number is ever given twice
.removing-<id>/            out of sight, about to be deleted
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trine import artifact
from trine.errors import NotPossible, RepositoryFull
from trine.registry.lock import Lock
from trine.registry.records import Record, Report, VersionState
from trine.registry.references import is_name

RECORD = "record.json"
ALIASES = "aliases.json"
ARTIFACT = "artifact"
DELETED = ".deleted-"
_REMOVING = ".removing-"
_VERSION = re.compile(r"\.?([1-9][0-9]*)")
"""A published version, or with the dot one that is registered."""
_RUNNING = re.compile(r"\.[1-9][0-9]*")
_TAKEN = re.compile(r"(?:\.|\.deleted-)?([1-9][0-9]*)")
_ATTEMPTS = 5
"""How often a name is read anew when it changes under the reader's eyes."""


@dataclass(slots=True)
class Checkpoint:
    """One name as it was last read."""

    name: str
    versions: dict[int, Record] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    pending: bool = False
    """An alias names a version that cannot be seen yet: network volumes show changes in any order."""

    @property
    def running(self) -> bool:
        """Whether a version is being registered, by any server."""
        closed = (VersionState.READY, VersionState.FAILED)
        return any(record.state not in closed for record in self.versions.values())


class _OldReport(msgspec.Struct):
    """An exporter that does not tell its recipe calls the gate's limits `limits`, and tells nothing of the process."""

    recipe: str = ""
    reason: str = ""


# --- reading ---------------------------------------------------------------------------------------------------------


def checkpoint_folders(root: Path) -> Iterator[os.DirEntry[str]]:
    """The folders that bear a name; what else a volume holds, as ext4's lost+found, is not ours to read or to remove."""
    with os.scandir(root) as entries:
        for entry in entries:
            if is_name(entry.name) and entry.is_dir():
                yield entry


def read(folder: Path) -> Checkpoint:
    """One name at one moment: what changes between the first look and the last is read again.

    Without any version it is not there. Raises OSError where the volume cannot be read, which is not to be taken for emptiness.
    """
    for _ in range(_ATTEMPTS):
        seen = _listing(folder), read_aliases(folder)  # aliases first: a version is published before an alias
        records = [_read_record(folder / name) for name in seen[0]]
        if seen == (_listing(folder), read_aliases(folder)):
            break
    versions = {record.number: record for record in records if record is not None}
    aliases = seen[1]
    pending = any(number not in versions for number in aliases.values())
    return Checkpoint(folder.name, dict(sorted(versions.items())), aliases, pending)


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _VERSION.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_record(folder: Path) -> Record | None:
    """None where there is no complete record: a registration that has just begun or ended, or a foreign folder.

    The folder says which version it is, so that a name can be copied or renamed by hand.
    """
    try:
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
    number = int(folder.name.removeprefix("."))
    if (record.checkpoint, record.number) != (folder.parent.name, number):
        record = msgspec.structs.replace(record, checkpoint=folder.parent.name, number=number)
    if folder.name.startswith(".") and record.state in (VersionState.READY, VersionState.FAILED):
        # Written already, but the version is there only when its folder has its name.
        record = msgspec.structs.replace(record, state=VersionState.VERIFYING, reason="")
    return record


def read_aliases(folder: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode((folder / ALIASES).read_bytes(), type=dict[str, int])
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return {}


def read_report(path: Path) -> Report:
    """Raises OSError and MsgspecError."""
    content = path.read_bytes()
    begun = msgspec.json.decode(content, type=_OldReport)
    return msgspec.json.decode(content, type=Report) if begun.recipe else Report(begun.reason)


def next_number(folder: Path) -> int:
    """One more than any version, registration or mark has."""
    return 1 + max((int(m[1]) for name in os.listdir(folder) if (m := _TAKEN.fullmatch(name))), default=0)


def disk_usage(root: Path) -> int:
    """Bytes of all files below `root`. About 2 s for a million files."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


# --- changing --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Raises RepositoryFull, or NotPossible, for what the volume refuses."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise RepositoryFull("the disk of the repository is full") from error
        if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise NotPossible("the server may not write to the repository") from error
        raise


def replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, also after a crash."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    artifact.sync(path.parent)


def hide(folder: Path, root: Path) -> Path:
    """Take a folder out of everyone's sight in one step; where it is now, to be deleted at leisure."""
    hidden = root / f"{_REMOVING}{uuid.uuid4().hex}"
    folder.rename(hidden)
    return hidden


def delete(hidden: Path) -> None:
    shutil.rmtree(hidden, ignore_errors=True)


def sweep_root(root: Path) -> list[Path]:
    """The hidden folders that a deletion left behind when it broke."""
    return sorted(root.glob(f"{_REMOVING}*"))


def sweep(folder: Path, root: Path) -> list[Path]:
    """Clear away what a crashed registration, alias move or deletion left of a name, under the repository's lock.

    A registration that runs holds its lock, and is left alone. Returns hidden folders, which the caller deletes without the lock.
    """
    hidden = []
    for path in folder.iterdir():
        if path.name.startswith(_REMOVING):
            hidden.append(hide(path, root))
        elif _RUNNING.fullmatch(path.name):
            lock = Lock(path)
            with contextlib.suppress(FileNotFoundError):  # it ended just now
                if lock.take():
                    hidden.append(hide(path, root))
            lock.release()
        elif path.name.startswith(f".{ALIASES}."):
            path.unlink(missing_ok=True)
        elif path.name.startswith(DELETED) and (folder / path.name.removeprefix(DELETED)).exists():
            path.rmdir()
    remove_if_empty(folder)
    return hidden


def remove_if_empty(folder: Path) -> None:
    """A name without versions, registrations, aliases and marks; under the repository's lock."""
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()
