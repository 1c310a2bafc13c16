"""Brings the repository and the engines to what a file declares: at start, and whenever the file changes. Front process, event loop.

The file's content is read every few seconds and compared: that sees every kind of change on every kind of volume, also the exchange of
a symlink two folders up, which is how Kubernetes changes a ConfigMap. A file that does not hold is reported, and what was declared
before stays. One that holds is brought about checkpoint by checkpoint; what fails of one is logged and does not hinder the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from trine.config import Settings
from trine.errors import InvalidInput, NotPossible, TrineError
from trine.front.serving.administration import Administration
from trine.front.serving.declaration import Declaration, DeclaredCheckpoint, read
from trine.front.serving.pool import Pool
from trine.front.serving.rollout import Rollout
from trine.registry import references
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.repository import Repository
from trine.registry.source import Folder, Hub, Source
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class Declared:
    """What the file at `path` declares. Raises InvalidInput where it does not hold."""

    def __init__(
        self,
        path: Path,
        repository: Repository,
        pool: Pool,
        rollout: Rollout,
        administration: Administration,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._path = path
        self._repository = repository
        self._pool = pool
        self._rollout = rollout
        self._administration = administration
        self._settings = settings
        self._metrics = metrics
        self._content = b""
        self._now = Declaration()
        self._registered: dict[str, tuple[DeclaredCheckpoint, Record]] = {}
        """Name -> what was declared, and the version that its source gave: it is not read again as long as the same is declared."""
        self._read()

    def names(self) -> list[str]:
        """The declared names whose `live` version is loaded."""
        setting = self._settings.load
        return [
            name
            for name, one in self._now.checkpoints.items()
            if references.LIVE in (one.loaded_aliases(setting) or ())
        ]

    async def reconcile(self) -> None:
        """Register what is new, move aliases, load and unload; one checkpoint after the other, since exports are heavy."""
        for name, one in self._now.checkpoints.items():
            try:
                await self._bring_about(name, one)
            except TrineError as error:
                logger.error(
                    "could not bring about what is declared",
                    extra={"checkpoint": name, "reason": error.message},
                )
            except Exception:  # a bug or a failing disk, which must not end the following of the file
                logger.exception("could not bring about what is declared", extra={"checkpoint": name})

    async def watch(self) -> None:
        """For ever: follow the file."""
        while True:
            await asyncio.sleep(self._settings.watch_interval)
            before = self._now
            try:
                if not await asyncio.to_thread(self._read):
                    continue
            except InvalidInput as error:
                self._metrics.declaration_read(ok=False)
                logger.error("the declaration is as before", extra={"reason": error.message})
                continue
            self._metrics.declaration_read(ok=True)
            logger.info("the declaration has changed")
            if self._now.server != before.server:
                logger.warning("what is declared of the server takes effect when it starts again")
            for name in before.checkpoints.keys() - self._now.checkpoints.keys():
                self._registered.pop(name, None)
                await self._unload(name, keep=set())
            await self.reconcile()

    def _read(self) -> bool:
        """Whether the file is not as it was. Raises InvalidInput once for each content that does not hold."""
        try:
            content = self._path.read_bytes()
        except OSError as error:
            if not self._content:
                raise InvalidInput(f"the file cannot be read: {error.strerror}") from None
            return False  # it is being exchanged, or the volume is away
        if content == self._content:
            return False
        self._content = content
        self._now = read(content)
        return True

    async def _bring_about(self, name: str, one: DeclaredCheckpoint) -> None:
        record = await self._register(name, one) if one.has_source else None
        wanted = one.loaded_aliases(self._settings.load)
        for alias, number in one.meanings.items():
            version = (
                record
                if number is None
                else self._repository.resolve(references.Reference(name, number=number))
            )
            if version is not None and self._meaning(name, alias) != version.number:
                load = None if wanted is None else alias in wanted
                await self._rollout.move(name, alias, version, load=load)
        if wanted is not None:
            await self._load(name, wanted)

    async def _load(self, name: str, aliases: list[str]) -> None:
        """Load what the aliases mean. What else of the name is loaded is not declared."""
        meant = [self._repository.resolve(references.Reference(name, alias=alias)) for alias in aliases]
        for record in meant:
            await self._pool.load(record)
        if self._now.checkpoints[name].load is not None:
            await self._unload(name, keep={record.number for record in meant})

    async def _unload(self, name: str, keep: set[int]) -> None:
        for record in self._repository.state(name).versions.values():
            if record.number not in keep:
                await self._pool.unload(record)

    async def _register(self, name: str, one: DeclaredCheckpoint) -> Record:
        """The version that the source gives. Raises what refuses it, NotPossible for one that the gate refused."""
        known = self._registered.get(name)
        if known is not None and _same_source(known[0], one) and self._is_there(known[1]):
            return known[1]
        if one.artifact:
            view, _ = await self._administration.import_artifact(
                name, self._absolute(one.artifact), hold=True
            )
            record = view.record
        else:
            record = await self._export(name, one)
        if record.state is not VersionState.READY:
            raise NotPossible(f"{record.reference} is {record.state}: {record.reason}", field="checkpoint")
        self._registered[name] = one, record
        return record

    async def _export(self, name: str, one: DeclaredCheckpoint) -> Record:
        source: Source = Hub(one.hub, one.revision) if one.hub else Folder(self._absolute(one.path))
        lineage = Lineage(
            base_checkpoint=one.base_checkpoint, training_data=one.training_data, license=one.license
        )
        steps = self._administration.register(
            name, source, task=one.task, precision=one.precision, gate=one.gate, hold=True, claims=lineage
        )
        record: Record | None = None
        async with contextlib.aclosing(steps):
            async for step in steps:
                if step.version is not None:
                    logger.info(step.message)
                    record = step.version.record
        assert record is not None
        return record

    def _absolute(self, path: str) -> str:
        return str(self._settings.import_root.absolute() / path)

    def _meaning(self, name: str, alias: str) -> int | None:
        return self._repository.state(name).aliases.get(alias)

    def _is_there(self, record: Record) -> bool:
        return self._repository.state(record.checkpoint).versions.get(record.number) == record


def _same_source(one: DeclaredCheckpoint, other: DeclaredCheckpoint) -> bool:
    return one.model_copy(update={"aliases": other.aliases, "load": other.load}) == other
