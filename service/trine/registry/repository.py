"""The repository: a folder that is the registry. Front process; shared by every server that mounts the folder.

    NAME/aliases.json          {"live": 2}, replaced atomically
    NAME/2/record.json         a published version: never changes
    NAME/2/artifact/           its artifact; a FAILED version has only record.json and report.json
    NAME/.3/                   a registration that runs: the same files, renamed to NAME/3 in one step when they are complete
    NAME/.3/.lock              held by the registering process; whoever can lock it may sweep the folder away
    NAME/.deleted-1/           an empty mark, so that no number is ever given twice

Reads are answered from memory; `refresh` reads one name anew, and every change made here does so.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import msgspec

from trine import artifact
from trine.errors import CheckpointNotFound, NotPossible
from trine.registry.lock import Lock
from trine.registry.records import Record, VersionState
from trine.registry.references import LIVE, Reference, check_name, is_name

RECORD = "record.json"
ALIASES = "aliases.json"
ARTIFACT = "artifact"
_PUBLISHED = re.compile(r"[1-9][0-9]*")
_RUNNING = re.compile(r"\.[1-9][0-9]*")
_TAKEN = re.compile(r"(?:\.|\.deleted-)?([1-9][0-9]*)")


@dataclass(slots=True)
class Checkpoint:
    """One name as it was last read."""

    name: str
    versions: dict[int, Record] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # engines and exports run in folders of their own
        root.mkdir(parents=True, exist_ok=True)
        self._checkpoints: dict[str, Checkpoint] = {}
        with self._exclusive():
            for folder in sorted(root.glob(".removing-*")):
                shutil.rmtree(folder, ignore_errors=True)
            for folder in _checkpoint_folders(root):
                _sweep(folder)
        for folder in _checkpoint_folders(root):
            self.refresh(folder.name)

    # --- reading -----------------------------------------------------------------------------------------------------

    def refresh(self, name: str) -> None:
        """Read one name from disk."""
        folder = self.root / name
        checkpoint = Checkpoint(name, aliases=_read_aliases(folder))
        for entry in folder.iterdir() if folder.is_dir() else ():
            if _PUBLISHED.fullmatch(entry.name) or _RUNNING.fullmatch(entry.name):
                record = _read_record(entry)
                if record is not None:
                    checkpoint.versions[record.number] = record
        checkpoint.versions = dict(sorted(checkpoint.versions.items()))
        if checkpoint.versions:
            self._checkpoints[name] = checkpoint
        else:
            self._checkpoints.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._checkpoints)

    def checkpoint(self, name: str) -> Checkpoint:
        """Raises CheckpointNotFound."""
        try:
            return self._checkpoints[name]
        except KeyError:
            raise CheckpointNotFound(f"no checkpoint is named {name}", field="checkpoint") from None

    def resolve(self, reference: Reference) -> Record:
        """The version that the reference means. Raises CheckpointNotFound."""
        checkpoint = self.checkpoint(reference.name)
        number = reference.number
        if number is None:
            alias = reference.alias or LIVE
            number = checkpoint.aliases.get(alias)
            if number is None:
                raise CheckpointNotFound(
                    f"checkpoint {reference.name} has no alias {alias}", field="checkpoint"
                )
        if number not in checkpoint.versions:
            raise CheckpointNotFound(
                f"checkpoint {reference.name} has no version {number}", field="checkpoint"
            )
        return checkpoint.versions[number]

    def find(self, name: str, digest: str) -> Record | None:
        """The READY version of `name` with this content and recipe."""
        checkpoint = self._checkpoints.get(name)
        for record in checkpoint.versions.values() if checkpoint else ():
            if record.digest == digest and record.state is VersionState.READY:
                return record
        return None

    def artifact_folder(self, record: Record) -> Path:
        return self.root / record.checkpoint / str(record.number) / ARTIFACT

    # --- changing ----------------------------------------------------------------------------------------------------

    def reserve(self, name: str) -> Reservation:
        """Take the next number of `name`; two servers that ask at once get different ones."""
        folder = self.root / check_name(name)
        with self._exclusive():
            folder.mkdir(exist_ok=True)
            taken = (int(m[1]) for entry in folder.iterdir() if (m := _TAKEN.fullmatch(entry.name)))
            number = 1 + max(taken, default=0)
            (folder / f".{number}").mkdir()
            return Reservation(self, name, number)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Move an alias to a READY version. Raises CheckpointNotFound or NotPossible."""
        record = self.resolve(Reference(name, number=number))
        if record.state is not VersionState.READY:
            raise NotPossible(f"{record.reference} is {record.state}, not ready", field="checkpoint")
        check_name(alias, "alias")
        with self._exclusive():
            aliases = _read_aliases(self.root / name) | {alias: number}
            _replace(self.root / name / ALIASES, msgspec.json.encode(aliases))
        self.refresh(name)

    def delete_version(self, record: Record) -> None:
        """Raises NotPossible while an alias points at it or its registration runs."""
        checkpoint = self.checkpoint(record.checkpoint)
        pointing = [alias for alias, number in checkpoint.aliases.items() if number == record.number]
        if pointing:
            raise NotPossible(f"the alias {pointing[0]} points at {record.reference}", field="checkpoint")
        if record.state not in (VersionState.READY, VersionState.FAILED):
            raise NotPossible(f"the registration of {record.reference} runs", field="checkpoint")
        folder = self.root / record.checkpoint
        (folder / f".deleted-{record.number}").mkdir(exist_ok=True)
        _remove(folder / str(record.number))
        self.refresh(record.checkpoint)

    def delete_checkpoint(self, name: str) -> None:
        """Remove a name with all its versions. Raises CheckpointNotFound, or NotPossible while a registration runs."""
        for record in self.checkpoint(name).versions.values():
            if record.state not in (VersionState.READY, VersionState.FAILED):
                raise NotPossible(f"the registration of {record.reference} runs", field="checkpoint")
        _remove(self.root / name)
        self.refresh(name)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the whole repository for the few system calls that must not interleave with another server's."""
        lock = Lock(self.root)
        lock.take(wait=True)
        try:
            yield
        finally:
            lock.release()


class Reservation:
    """A version number with its folder, until `publish` or `fail`; leaving the context before that leaves nothing behind."""

    def __init__(self, repository: Repository, name: str, number: int) -> None:
        self.repository = repository
        self.name = name
        self.number = number
        self.folder = repository.root / name / f".{number}"
        self.staging = self.folder / ARTIFACT
        self._lock = Lock(self.folder)
        self._lock.take()
        self._done = False

    def __enter__(self) -> Reservation:
        return self

    def note(self, record: Record) -> None:
        """Tell other readers how far the registration is."""
        _replace(self.folder / RECORD, msgspec.json.encode(record))
        self.repository.refresh(self.name)

    def publish(self, record: Record) -> None:
        """Move the complete folder into its place. `staging` must be sealed."""
        self._close(record)

    def fail(self, record: Record) -> None:
        """Keep the record and the gate's report, and nothing else."""
        report = self.staging / artifact.REPORT
        if report.is_file():
            report.rename(self.folder / artifact.REPORT)
        shutil.rmtree(self.staging, ignore_errors=True)
        self._close(record)

    def _close(self, record: Record) -> None:
        _replace(self.folder / RECORD, msgspec.json.encode(record))
        artifact.publish(self.folder, self.folder.parent / str(self.number))
        self._done = True
        (self.folder.parent / str(self.number) / Lock.NAME).unlink(missing_ok=True)
        self._lock.release()
        self.repository.refresh(self.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._done:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()
        parent = self.folder.parent
        if not any(parent.iterdir()):
            parent.rmdir()
        self.repository.refresh(self.name)


def _checkpoint_folders(root: Path) -> list[Path]:
    """The folders that bear a name; what else a volume holds, as ext4's lost+found, is not ours to read or to remove."""
    return [entry for entry in sorted(root.iterdir()) if is_name(entry.name) and entry.is_dir()]


def _sweep(folder: Path) -> None:
    """Remove what a crashed registration or deletion left; the lock of a running registration cannot be taken."""
    for entry in folder.iterdir():
        if entry.name.startswith(".removing-"):
            shutil.rmtree(entry, ignore_errors=True)
        elif _RUNNING.fullmatch(entry.name):
            lock = Lock(entry)
            if lock.take():
                shutil.rmtree(entry, ignore_errors=True)
                lock.release()
    if not any(folder.iterdir()):
        folder.rmdir()


def _read_record(folder: Path) -> Record | None:
    """None where there is no complete record: a registration that has just begun, or a foreign folder."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def _read_aliases(folder: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode((folder / ALIASES).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _remove(folder: Path) -> None:
    """Take a folder out of sight in one step, then delete it."""
    hidden = folder.with_name(f".removing-{folder.name}-{os.getpid()}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
