"""The engines of this server: which versions are loaded, and who uses them. Front process, event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from trine.config import Settings
from trine.errors import NotLive, NotPossible
from trine.front.serving.handle import EngineHandle
from trine.front.serving.views import EngineState, EngineView
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository
from trine.telemetry.metrics import Metrics


class Pool:
    """`changed` is called whenever an engine changes its state."""

    def __init__(
        self, repository: Repository, settings: Settings, metrics: Metrics, changed: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._metrics = metrics
        self.changed = changed
        self._handles: dict[tuple[str, int], EngineHandle] = {}
        self._failures: dict[tuple[str, int], EngineView] = {}
        """Why a version's last load failed, until it is loaded again."""
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}
        self._unloading: set[asyncio.Task[None]] = set()

    def view(self, record: Record) -> EngineView:
        key = _key(record)
        handle = self._handles.get(key)
        return handle.view if handle else self._failures.get(key, EngineView())

    def is_live(self, record: Record) -> bool:
        return self.view(record).state is EngineState.LIVE

    def process_id(self, record: Record) -> int | None:
        """Of the version's engine, for tests and operators."""
        handle = self._handles.get(_key(record))
        return handle.process_id if handle else None

    def lease(self, record: Record) -> AbstractContextManager[EngineHandle]:
        """The engine of a version, which is not unloaded while leased. Raises NotLive."""
        handle = self._handles.get(_key(record))
        if handle is None or handle.state is EngineState.UNLOADING:
            state = EngineState.UNLOADED if handle is None else handle.state
            raise NotLive(f"{record.reference} is {state}", retry_after=self._settings.retry_after)
        return handle.lease()

    async def load(self, record: Record) -> None:
        """Start an engine unless a live one is there. Raises NotPossible, what kept the engine from loading, or NotLive while it
        is being started again after a crash."""
        if record.state is not VersionState.READY:
            raise NotPossible(f"{record.reference} is {record.state}, not ready", field="checkpoint")
        async with self._lock(record):
            there = self._handles.get(_key(record))
            if there is not None and there.state is not EngineState.LIVE:
                raise NotLive(f"{record.reference} is {there.state}", retry_after=self._settings.retry_after)
            if there is not None:
                return
            folder = self._repository.artifact_folder(record)
            handle = EngineHandle(record, folder, self._settings, self._metrics, self.changed)
            self._handles[_key(record)] = handle
            self._failures.pop(_key(record), None)
            try:
                await handle.start()
            except BaseException:
                self._failures[_key(record)] = handle.view
                self._drop(record)
                raise
            if record.parity is not None:
                self._metrics.parity(record.checkpoint, str(record.number), record.parity)

    async def unload(self, record: Record) -> None:
        """Drain and end the engine of a version, if it has one. What was begun is finished, also when the caller leaves."""
        task = asyncio.create_task(self._unload(record), name=f"unload {record.reference}")
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)
        await asyncio.shield(task)

    async def _unload(self, record: Record) -> None:
        async with self._lock(record):
            handle = self._handles.get(_key(record))
            if handle is not None:
                await handle.stop(self._settings.drain_timeout)
                self._drop(record)

    async def close(self, grace: float) -> None:
        """End all engines, giving what they run at most `grace` seconds."""
        handles = list(self._handles.values())
        await asyncio.gather(*(handle.stop(grace) for handle in handles), *self._unloading)
        self._handles.clear()

    def forget(self, record: Record) -> None:
        """Drop what is remembered of a version that is not loaded: it was deleted."""
        self._failures.pop(_key(record), None)
        self._metrics.forget(record.checkpoint, str(record.number))
        self.changed()

    def _drop(self, record: Record) -> None:
        self._handles.pop(_key(record), None)  # `close` may have been quicker
        self._metrics.forget(record.checkpoint, str(record.number))
        self.changed()

    def _lock(self, record: Record) -> asyncio.Lock:
        return self._locks.setdefault(_key(record), asyncio.Lock())


def _key(record: Record) -> tuple[str, int]:
    return record.checkpoint, record.number
