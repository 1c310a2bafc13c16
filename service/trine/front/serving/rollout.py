"""How an alias comes to mean another version without a failed call. Front process, event loop only.

The new version is loaded beside the old one, warmed and self-tested (`pool.load`); then the alias moves; then the old version
finishes what it runs and is unloaded. A request leases the engine of one version and keeps it to its end, so no stream ever
changes its version. `move` does so on a caller's word, `follow` when another server has moved the alias.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from trine.errors import TrineError, TryLater
from trine.front.serving.pool import Pool
from trine.front.serving.whole import whole
from trine.registry.records import Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE = 15.0
"""Seconds until a version that could not be loaded for want of room or time is tried again."""


class Rollout:
    """One change of a name at a time; `load` is the setting of the same name."""

    def __init__(self, repository: Repository, pool: Pool, load: str) -> None:
        self._repository = repository
        self._pool = pool
        self._load = load
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._again: dict[str, asyncio.Task[None]] = {}

    async def move(self, name: str, alias: str, record: Record, *, load: bool | None = None) -> None:
        """Point `alias` of `name` at `record`, a READY version of it.

        Unless `load` says whether, it is loaded first where the alias's version before is loaded here, or where the alias is `live` and
        this server loads what is live. Raises what keeps it from loading, NotPossible or CheckpointNotFound; the alias and its version are then as before.
        """
        async with self._lock(name):
            before = self._named(name, alias)
            is_new = not self._pool.is_loaded(record)
            try:
                if self._is_wanted(alias, before) if load is None else load:
                    await self._pool.load(record, beside=before)
                await whole(asyncio.to_thread(self._repository.set_alias, name, alias, record.number))
            finally:
                self._pool.changed()
                if is_new and not self._is_named(record):
                    self._retire([record])
                self._retire(self._pool.routes.take_unused(name))

    async def follow(self, name: str) -> None:
        """Another server has changed `name`, and it was read anew: load what its aliases mean now, then end what they meant before.

        Until a version is live here its alias goes on to mean the one before (`routes`). What cannot be loaded is logged, and the
        one before stays; it is tried again where a later try can succeed.
        """
        async with self._lock(name):
            self._pool.changed()
            for alias, record in self._behind(name):
                try:
                    await self._pool.load(record, beside=self._pool.routes.served(name).get(alias))
                except TrineError as error:
                    logger.error(
                        "could not follow", extra={"version": record.reference, "reason": error.message}
                    )
                    if isinstance(error, TryLater):
                        self._follow_again(name)
            self._retire([*self._pool.routes.take_unused(name), *self._vanished(name)])
            self._pool.forget_gone(name)

    async def close(self) -> None:
        """Follow nothing any more."""
        for task in self._again.values():
            task.cancel()
        await asyncio.gather(*self._again.values(), return_exceptions=True)

    def _follow_again(self, name: str) -> None:
        async def later() -> None:
            await asyncio.sleep(_PAUSE)
            self._again.pop(name, None)
            await self.follow(name)

        if name not in self._again:
            self._again[name] = asyncio.create_task(later(), name=f"follow {name} again")

    def _is_wanted(self, alias: str, before: Record | None) -> bool:
        if alias == LIVE and self._load == "live":
            return True
        return before is not None and self._pool.is_loaded(before)

    def _behind(self, name: str) -> list[tuple[str, Record]]:
        """The aliases whose version is not loaded here though it ought to be."""
        checkpoint = self._repository.state(name)
        pairs = [(alias, checkpoint.versions.get(number)) for alias, number in checkpoint.aliases.items()]
        served = self._pool.routes.served(name)
        return [
            (alias, record)
            for alias, record in pairs
            if record is not None
            and record.state is VersionState.READY
            and not self._pool.is_loaded(record)
            and self._is_wanted(alias, served.get(alias))
        ]

    def _vanished(self, name: str) -> list[Record]:
        """The loaded versions that are no longer in the repository."""
        there = {record.key for record in self._repository.state(name).versions.values()}
        loaded = [record for record in self._pool.records() if record.checkpoint == name]
        return [record for record in loaded if record.key not in there]

    def _named(self, name: str, alias: str) -> Record | None:
        checkpoint = self._repository.checkpoint(name)
        return checkpoint.versions.get(checkpoint.aliases.get(alias, 0))

    def _is_named(self, record: Record) -> bool:
        return record.number in self._repository.state(record.checkpoint).aliases.values()

    def _retire(self, records: Sequence[Record]) -> None:
        """Drain and unload in the background: callers of the new version need not wait for those of the old."""
        for record in records:
            unloading = self._pool.begin_unload(record)
            if unloading is not None:
                unloading.add_done_callback(partial(self._forget, record.checkpoint))

    def _forget(self, name: str, _: asyncio.Task[None]) -> None:
        self._pool.forget_gone(name)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())
