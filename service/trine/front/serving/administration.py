"""What an administrator asks for: register, import, show, list, load, unload, alias, delete. Front process, event loop only.

What waits for the volume, as another server's lock, is done in a thread; what is asked of the memory is answered from it.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from trine import artifact
from trine.artifact import Family, Precision, Task
from trine.errors import ArtifactCorrupt, CheckpointNotFound, InvalidInput, NotPossible
from trine.export.plan import Gate
from trine.front.serving.pool import Pool
from trine.front.serving.publisher import Publisher
from trine.front.serving.rollout import Rollout
from trine.front.serving.views import (
    Change,
    CheckpointView,
    EngineState,
    Progress,
    ReportView,
    VersionView,
)
from trine.front.serving.watchers import Watchers
from trine.registry import references
from trine.registry.architectures import ARCHITECTURES, Architecture
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.repository import Repository
from trine.registry.source import Source

_PAGE = 100
_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which versions to list; what is not said is any."""

    task: Task | None = None
    family: Family | None = None
    state: VersionState | None = None
    base_checkpoint: str = ""

    def admits(self, record: Record) -> bool:
        return (
            self.task in {None, record.task}
            and self.family in {None, record.family}
            and self.state in {None, record.state}
            and self.base_checkpoint in {"", record.lineage.base_checkpoint}
        )


ANY = Filter()


class Administration:
    def __init__(
        self,
        repository: Repository,
        pool: Pool,
        publisher: Publisher,
        rollout: Rollout,
        watchers: Watchers,
    ) -> None:
        self._repository = repository
        self._pool = pool
        self._publisher = publisher
        self._rollout = rollout
        self._watchers = watchers
        self._artifacts: dict[tuple[str, int, float], artifact.Artifact] = {}
        """Opened artifacts of READY versions; they never change, so they are read once."""

    # --- coming and going --------------------------------------------------------------------------------------------

    async def register(
        self,
        name: str,
        source: Source,
        *,
        task: Task | None,
        precision: Precision | None,
        gate: Gate = Gate.ENFORCE,
        hold: bool,
        claims: Lineage,
    ) -> AsyncGenerator[Progress, None]:
        """Stages as they pass; the last one carries the version. Closing the iterator ends the export.

        `claims` is what the caller says of the lineage.
        """
        references.check_name(name)
        async for progress in self._publisher.register(
            name, source, task=task, precision=precision, gate=gate, hold=hold, claims=claims
        ):
            if isinstance(progress, Progress):
                yield progress
            else:
                record, existing = progress
                yield Progress("publish", 1.0, _verdict(record, existing), self._view(record), existing)

    async def import_artifact(self, name: str, path: str, *, hold: bool) -> tuple[VersionView, bool]:
        """Publish an exported artifact; the version, and whether it was there before."""
        references.check_name(name)
        record, existing = await self._publisher.import_artifact(name, path, hold=hold)
        return self._view(record), existing

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
            await asyncio.to_thread(self._repository.delete_version, records[0])
        else:
            await asyncio.to_thread(self._repository.delete_checkpoint, asked.name)
        for record in records:
            self._artifacts.pop(record.key, None)
            self._pool.forget(record)

    # --- engines and aliases -----------------------------------------------------------------------------------------

    async def load(self, reference: str) -> VersionView:
        record = self._repository.resolve(references.parse(reference))
        await self._pool.load(record)
        return self._view(record)

    async def unload(self, reference: str) -> VersionView:
        record = self._repository.resolve(references.parse(reference))
        await self._pool.unload(record)
        return self._view(record)

    async def set_alias(self, reference: str, alias: str) -> CheckpointView:
        """Point `alias` at the version that `reference` means; no call to the alias fails meanwhile. Raises NotPossible."""
        asked = references.parse(reference)
        if asked.number is None and asked.alias is None:
            raise InvalidInput("an alias points at NAME:VERSION or NAME@ALIAS", field="checkpoint")
        references.check_name(alias, "alias")
        record = self._repository.resolve(asked)
        await self._rollout.move(asked.name, alias, record)
        return self.get(asked.name)

    async def delete_alias(self, reference: str) -> CheckpointView:
        """Remove NAME@ALIAS; the version stays, and stays loaded where it is. Raises CheckpointNotFound."""
        asked = references.parse(reference)
        if asked.alias is None:
            raise InvalidInput("which alias is removed is told as NAME@ALIAS", field="checkpoint")
        await asyncio.to_thread(self._repository.delete_alias, asked.name, asked.alias)
        self._pool.changed()
        return self.get(asked.name)

    # --- showing -----------------------------------------------------------------------------------------------------

    def get(self, reference: str) -> CheckpointView:
        """All versions for a bare name, one for NAME:VERSION and NAME@ALIAS. Raises CheckpointNotFound."""
        asked = references.parse(reference)
        checkpoint = self._repository.checkpoint(asked.name)
        if asked.alias is None and asked.number is None:
            records = list(checkpoint.versions.values())
        else:
            records = [self._repository.resolve(asked)]
        return CheckpointView(asked.name, [self._view(r) for r in records], dict(checkpoint.aliases))

    def list(
        self, page_size: int, page_token: str, wanted: Filter = ANY
    ) -> tuple[builtins.list[CheckpointView], str]:
        """One page in order of names, and the token of the next; the token is the last name of the page.

        Of a checkpoint only the wanted versions are told, and one without any is left out.
        """
        if page_size > _LARGEST_PAGE:
            raise InvalidInput(f"a page has at most {_LARGEST_PAGE} checkpoints", field="page_size")
        page: builtins.list[CheckpointView] = []
        for name in self._repository.names():
            if name > page_token and (view := self._filtered(name, wanted)):
                if len(page) == (page_size or _PAGE):
                    return page, page[-1].name
                page.append(view)
        return page, ""

    def _filtered(self, name: str, wanted: Filter) -> CheckpointView | None:
        checkpoint = self._repository.state(name)
        records = [record for record in checkpoint.versions.values() if wanted.admits(record)]
        if not records:
            return None
        return CheckpointView(name, [self._view(record) for record in records], dict(checkpoint.aliases))

    async def report(self, reference: str) -> ReportView:
        record = self._repository.resolve(references.parse(reference))
        report = await asyncio.to_thread(self._repository.report, record)
        return ReportView(self._view(record), report)

    def architectures(self) -> builtins.list[Architecture]:
        """In order of their names."""
        return sorted(ARCHITECTURES.values(), key=lambda row: row.name)

    async def watch(self, name: str) -> AsyncGenerator[Change, None]:
        """All checkpoints, or the one of that name; then each anew whenever it changes. Raises Draining when the server stops."""
        if name:
            references.check_name(name, "checkpoint")
        async with aclosing(self._watchers.watch(name)) as names:
            async for changed in names:
                yield self._change(changed)

    def _change(self, name: str | None) -> Change:
        if name is None:
            return Change(current=True)
        try:
            return Change(self.get(name))
        except CheckpointNotFound:
            return Change(deleted=name)

    # --- views -------------------------------------------------------------------------------------------------------

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
        key = record.key
        if key not in self._artifacts:
            self._forget_gone(record.checkpoint)
            try:
                folder = self._repository.artifact_folder(record)
                self._artifacts[key] = artifact.open_artifact(folder, check_hashes=False)
            except ArtifactCorrupt:
                return None
        return self._artifacts[key]

    def _forget_gone(self, name: str) -> None:
        """What another server deleted is noticed when a further version of its name is opened."""
        there = {record.key for record in self._repository.state(name).versions.values()}
        for key in [key for key in self._artifacts if key[0] == name and key not in there]:
            del self._artifacts[key]


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
