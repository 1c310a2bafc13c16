"""What an administrator asks for: show, list, load, unload, delete, register. Front process, event loop only."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from trine import artifact
from trine.artifact import Precision, Task
from trine.errors import ArtifactCorrupt, InvalidInput, NotPossible
from trine.export.plan import Gate
from trine.front.serving.pool import Pool
from trine.front.serving.publisher import Publisher
from trine.front.serving.views import CheckpointView, EngineState, Progress, VersionView
from trine.registry import references
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository

_PAGE = 100
_LARGEST_PAGE = 1000


class Administration:
    def __init__(self, repository: Repository, pool: Pool, publisher: Publisher) -> None:
        self._repository = repository
        self._pool = pool
        self._publisher = publisher
        self._artifacts: dict[tuple[str, int, float], artifact.Artifact] = {}
        """Opened artifacts of READY versions; they never change, so they are read once."""

    async def register(
        self,
        name: str,
        path: str,
        *,
        task: Task | None,
        precision: Precision | None,
        gate: Gate = Gate.ENFORCE,
        hold: bool,
    ) -> AsyncGenerator[Progress, None]:
        """Stages as they pass; the last one carries the version. Closing the iterator ends the export."""
        references.check_name(name)
        async for progress in self._publisher.register(
            name, path, task=task, precision=precision, gate=gate, hold=hold
        ):
            if isinstance(progress, Progress):
                yield progress
            else:
                record, existing = progress
                yield Progress("publish", 1.0, _verdict(record, existing), self._view(record), existing)

    def get(self, reference: str) -> CheckpointView:
        """All versions for a bare name, one for NAME:VERSION and NAME@ALIAS. Raises CheckpointNotFound."""
        asked = references.parse(reference)
        checkpoint = self._repository.checkpoint(asked.name)
        if asked.alias is None and asked.number is None:
            records = list(checkpoint.versions.values())
        else:
            records = [self._repository.resolve(asked)]
        return CheckpointView(asked.name, [self._view(r) for r in records], dict(checkpoint.aliases))

    def list(self, page_size: int, page_token: str) -> tuple[list[CheckpointView], str]:
        """One page in order of names, and the token of the next; the token is the last name of the page."""
        if page_size > _LARGEST_PAGE:
            raise InvalidInput(f"a page has at most {_LARGEST_PAGE} checkpoints", field="page_size")
        names = [name for name in self._repository.names() if name > page_token]
        page = names[: page_size or _PAGE]
        token = page[-1] if len(page) < len(names) else ""
        return [self.get(name) for name in page], token

    async def load(self, reference: str) -> VersionView:
        record = self._repository.resolve(references.parse(reference))
        await self._pool.load(record)
        return self._view(record)

    async def unload(self, reference: str) -> VersionView:
        record = self._repository.resolve(references.parse(reference))
        await self._pool.unload(record)
        return self._view(record)

    async def delete(self, reference: str) -> None:
        """One version, or with a bare name all. Raises NotPossible while anything of it is loaded or aliased."""
        asked = references.parse(reference)
        if asked.alias is not None:
            raise InvalidInput("delete takes NAME or NAME:VERSION, not an alias", field="checkpoint")
        if asked.number is not None:
            records = [self._repository.resolve(asked)]
        else:
            records = list(self._repository.checkpoint(asked.name).versions.values())
        for record in records:
            self._refuse_loaded(record)
        if asked.number is not None:
            self._repository.delete_version(records[0])
        else:
            self._repository.delete_checkpoint(asked.name)
        for record in records:
            self._artifacts.pop(_key(record), None)
            self._pool.forget(record)

    def _refuse_loaded(self, record: Record) -> None:
        if self._pool.view(record).state is not EngineState.UNLOADED:
            raise NotPossible(f"{record.reference} is loaded: unload it first", field="checkpoint")

    def _view(self, record: Record) -> VersionView:
        engine = self._pool.view(record)
        opened = self._open(record)
        if opened is None:
            return VersionView(record, engine=engine)
        return VersionView(record, opened.manifest, opened.size_bytes, engine)

    def _open(self, record: Record) -> artifact.Artifact | None:
        if record.state is not VersionState.READY:
            return None
        key = _key(record)
        if key not in self._artifacts:
            try:
                folder = self._repository.artifact_folder(record)
                self._artifacts[key] = artifact.open_artifact(folder, check_hashes=False)
            except ArtifactCorrupt:
                return None
        return self._artifacts[key]


def _key(record: Record) -> tuple[str, int, float]:
    """A name that was deleted and registered again begins at version 1 anew; the time tells the two apart."""
    return record.checkpoint, record.number, record.create_time


def _verdict(record: Record, existing: bool) -> str:
    if existing:
        return f"{record.reference} has this content already"
    overridden = ""
    if record.parity and record.parity.overridden:
        overridden = (
            " although its gate failed" if record.parity.checks else " although its gate could not run"
        )
    precision = f" in {record.precision}" if record.state is VersionState.READY else ""
    reason = f": {record.reason}" if record.reason else ""
    return f"{record.reference} is {record.state}{precision}{overridden}{reason}"
