"""A version that is being registered: its number, its hidden folder, and the one step that publishes it. Front process, any thread."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import msgspec

from trine import artifact
from trine.registry import layout
from trine.registry.lock import Lock
from trine.registry.records import Record


class Reservation:
    """A version number with its folder, until `publish` or `fail`; leaving the context before that leaves nothing behind.

    Made under the repository's lock, which `exclusive` takes; `changed` is called when others can see something new.
    """

    def __init__(
        self,
        name: str,
        number: int,
        folder: Path,
        exclusive: Callable[[], AbstractContextManager[None]],
        changed: Callable[[], object],
    ) -> None:
        self.name = name
        self.number = number
        self.folder = folder
        self.staging = folder / layout.ARTIFACT
        self._exclusive = exclusive
        self._changed = changed
        folder.mkdir()
        self._lock = Lock(folder)
        self._lock.take()
        self._done = False

    def __enter__(self) -> Reservation:
        return self

    def note(self, record: Record) -> None:
        """Tell other readers how far the registration is."""
        self._write(record)
        self._changed()

    def publish(self, record: Record) -> Record:
        """Move the complete folder into its place. `staging` must be sealed. The record, with the manifest's hash."""
        manifest = self.staging / artifact.MANIFEST
        if manifest.is_file():
            record = msgspec.structs.replace(record, manifest_sha256=artifact.sha256(manifest))
        self._close(record)
        return record

    def fail(self, record: Record) -> None:
        """Keep the record and the gate's report, and nothing else."""
        report = self.staging / artifact.REPORT
        if report.is_file():
            report.rename(self.folder / artifact.REPORT)
        shutil.rmtree(self.staging, ignore_errors=True)
        self._close(record)

    def _close(self, record: Record) -> None:
        """Under the repository's lock, or a server that starts could sweep the folder away once its own lock is gone."""
        self._write(record)
        with self._exclusive():
            (self.folder / Lock.NAME).unlink(missing_ok=True)
            artifact.publish(self.folder, self.folder.parent / str(self.number))
            self._done = True
        self._lock.release()
        self._changed()

    def _write(self, record: Record) -> None:
        with layout.writing():
            layout.replace(self.folder / layout.RECORD, msgspec.json.encode(record))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._done:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()
        with self._exclusive():
            layout.remove_if_empty(self.folder.parent)
        self._changed()
