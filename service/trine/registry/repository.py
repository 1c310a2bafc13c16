"""The repository: a folder that is the registry. Front process; shared by every server that mounts the folder.

layout.py draws the folder. Reads are answered from memory; `refresh` reads one name anew, and every change made here does so.
What other servers change, watch.py sees. Any thread may call: a change takes the lock of the whole folder for the few system calls that
must not interleave with another's, here or elsewhere, and decides by what is on disk then. Raises RepositoryFull where the disk is full.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from trine import artifact
from trine.errors import ArtifactCorrupt, CheckpointNotFound, NotPossible
from trine.registry import layout
from trine.registry.layout import Checkpoint
from trine.registry.lock import Hold, Lock
from trine.registry.records import Record, Report, VersionState
from trine.registry.references import LIVE, Reference, check_name
from trine.registry.reservation import Reservation

logger = logging.getLogger(__name__)

BELL = ".changed"
"""Touched at each change, so that the servers of one machine, which watch the folder itself, see it at once."""
_MAX_REPORT = 16 << 20


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # engines and exports run in folders of their own
        root.mkdir(parents=True, exist_ok=True)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._reading = threading.Lock()
        """Held from disk to memory, so that no older sight of a name comes to lie over a newer one."""
        self._listeners: list[Callable[[str], None]] = []
        with self._exclusive():
            hidden = layout.sweep_root(self.root)
            for entry in list(layout.checkpoint_folders(self.root)):
                hidden += layout.sweep(Path(entry), self.root)
        for folder in hidden:
            layout.delete(folder)
        for entry in layout.checkpoint_folders(self.root):
            self.refresh(entry.name)

    # --- reading -----------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call with each name that is not as it was, whoever changed it; from whatever thread reads it."""
        self._listeners.append(listener)

    def refresh(self, name: str) -> bool:
        """Read one name from disk. Returns whether it is not as it was. What cannot be read stays as it was."""
        check_name(name, "checkpoint")  # whoever asks, no path leads out of the folder
        with self._reading:
            before = self._checkpoints.get(name)
            try:
                now = layout.read(self.root / name)
            except OSError as error:
                logger.warning("cannot read a checkpoint", extra={"checkpoint": name, "errno": error.errno})
                return False
            _keep_meanings(now, before)
            if now == (before or Checkpoint(name)):
                return False
            if now.versions:
                self._checkpoints[name] = now
            else:
                self._checkpoints.pop(name, None)
        for listener in self._listeners:
            listener(name)
        return True

    def names(self) -> list[str]:
        return sorted(self._checkpoints)

    def is_registering(self, name: str) -> bool:
        """Whether a version of it is being registered, by any server."""
        return self.state(name).running

    def is_unsettled(self, name: str) -> bool:
        """Whether something of it changes, or is to come, that its folder's own time does not tell."""
        checkpoint = self.state(name)
        return checkpoint.pending or checkpoint.running

    def state(self, name: str) -> Checkpoint:
        """One name as it was last read; empty where there is none, as when a thread has just read that it is gone."""
        return self._checkpoints.get(name) or Checkpoint(name)

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
        for record in self.state(name).versions.values():
            if record.digest == digest and record.state is VersionState.READY:
                return record
        return None

    def artifact_folder(self, record: Record) -> Path:
        return self._folder(record) / layout.ARTIFACT

    def check_manifest(self, record: Record) -> None:
        """An engine checks all files by the manifest; this checks the manifest itself. Raises ArtifactCorrupt. Blocking."""
        if record.manifest_sha256:
            try:
                found = artifact.sha256(self.artifact_folder(record) / artifact.MANIFEST)
            except OSError:
                found = ""
            if found != record.manifest_sha256:
                raise ArtifactCorrupt(f"the manifest of {record.reference} is not as it was published")

    def report(self, record: Record) -> Report | None:
        """How the export of a version went, as far as it came; None where there is no report. Blocking."""
        ready = record.state is VersionState.READY
        path = (self.artifact_folder(record) if ready else self._folder(record)) / artifact.REPORT
        try:
            if path.stat().st_size > _MAX_REPORT:
                return None
            return layout.read_report(path)
        except (OSError, msgspec.MsgspecError):
            return None

    def hold(self, record: Record) -> Hold:
        """To be taken while the version is in use: no server deletes it then."""
        return Hold(self._folder(record) / layout.RECORD)

    def _folder(self, record: Record) -> Path:
        return self.root / record.checkpoint / str(record.number)

    # --- changing ----------------------------------------------------------------------------------------------------

    def reserve(self, name: str) -> Reservation:
        """Take the next number of `name`; two servers that ask at once get different ones."""
        folder = self.root / check_name(name)
        with self._exclusive():
            folder.mkdir(exist_ok=True)
            number = layout.next_number(folder)
            try:
                return Reservation(
                    name, number, folder / f".{number}", self._exclusive, lambda: self._changed(name)
                )
            except OSError:
                layout.remove_if_empty(folder)
                raise

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Move an alias to a READY version. Raises CheckpointNotFound or NotPossible."""
        check_name(alias, "alias")
        with self._exclusive():
            self.refresh(name)
            record = self.resolve(Reference(name, number=number))
            if record.state is not VersionState.READY:
                raise NotPossible(f"{record.reference} is {record.state}, not ready", field="checkpoint")
            self._write_aliases(name, layout.read_aliases(self.root / name) | {alias: number})
        self._changed(name)

    def delete_alias(self, name: str, alias: str) -> None:
        """The version that it meant stays. Raises CheckpointNotFound."""
        with self._exclusive():
            aliases = layout.read_aliases(self.root / check_name(name))
            if aliases.pop(alias, None) is None:
                raise CheckpointNotFound(f"checkpoint {name} has no alias {alias}", field="checkpoint")
            self._write_aliases(name, aliases)
        self._changed(name)

    def delete_version(self, record: Record) -> None:
        """Raises NotPossible while an alias points at it, a server has it loaded, or its registration runs."""
        with self._exclusive():
            self.refresh(record.checkpoint)
            record = self.resolve(Reference(record.checkpoint, number=record.number))
            aliases = layout.read_aliases(self.root / record.checkpoint)
            pointing = [alias for alias, number in aliases.items() if number == record.number]
            if pointing:
                raise NotPossible(f"the alias {pointing[0]} points at {record.reference}", field="checkpoint")
            with self._unused([record]):
                mark = self.root / record.checkpoint / f"{layout.DELETED}{record.number}"
                mark.mkdir(exist_ok=True)
                hidden = layout.hide(self._folder(record), self.root)
        layout.delete(hidden)
        self._changed(record.checkpoint)

    def delete_checkpoint(self, name: str) -> None:
        """Remove a name with all its versions. Raises CheckpointNotFound, or NotPossible as for a version."""
        with self._exclusive():
            self.refresh(name)
            with self._unused(list(self.checkpoint(name).versions.values())):
                hidden = layout.hide(self.root / name, self.root)
        layout.delete(hidden)
        self._changed(name)

    def sweep(self, name: str) -> None:
        """Remove a registration whose server died."""
        with self._exclusive():
            hidden = layout.sweep(self.root / name, self.root) if (self.root / name).is_dir() else []
        for folder in hidden:
            layout.delete(folder)
        if hidden:
            self._changed(name)

    def _write_aliases(self, name: str, aliases: dict[str, int]) -> None:
        layout.replace(self.root / name / layout.ALIASES, msgspec.json.encode(aliases))

    @contextlib.contextmanager
    def _unused(self, records: list[Record]) -> Iterator[None]:
        """Versions that are about to be deleted, which none can begin to use meanwhile. Raises NotPossible."""
        with contextlib.ExitStack() as stack:
            for record in records:
                if record.state not in (VersionState.READY, VersionState.FAILED):
                    raise NotPossible(f"the registration of {record.reference} runs", field="checkpoint")
                hold = self.hold(record)
                if not hold.take_alone():
                    raise NotPossible(
                        f"{record.reference} is loaded by a server of this repository: unload it there first",
                        field="checkpoint",
                    )
                stack.callback(hold.release)
            yield

    def _changed(self, name: str) -> None:
        self.refresh(name)
        with contextlib.suppress(OSError):  # a full disk; the others look from time to time as well
            (self.root / BELL).touch()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the whole repository for the few system calls that must not interleave with another server's."""
        lock = Lock(self.root)
        with layout.writing():
            lock.take(wait=True)
            try:
                yield
            finally:
                lock.release()


def _keep_meanings(now: Checkpoint, before: Checkpoint | None) -> None:
    """An alias whose version cannot be seen yet goes on to mean what it meant, as long as that is there."""
    if not now.pending or before is None:
        return
    for alias, number in now.aliases.items():
        if number not in now.versions and before.aliases.get(alias) in now.versions:
            now.aliases[alias] = before.aliases[alias]
