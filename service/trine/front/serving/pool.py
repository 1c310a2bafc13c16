"""The engines of this server: which versions are loaded, and who uses them. Front process, event loop only."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from trine.config import Settings
from trine.errors import (
    ArtifactCorrupt,
    CheckpointNotFound,
    NotLive,
    NotPossible,
    Overloaded,
    TrineError,
)
from trine.front.serving import memory
from trine.front.serving.demand import Demand
from trine.front.serving.failures import STANDS, Failures
from trine.front.serving.handle import EngineHandle
from trine.front.serving.room import Room
from trine.front.serving.routes import Routes
from trine.front.serving.views import EngineState, EngineView
from trine.registry.records import Key, Record, VersionState
from trine.registry.references import Reference
from trine.registry.repository import Repository
from trine.telemetry.metrics import Metrics


class Pool:
    """`changed` is called whenever an engine changes its state, and by whoever changes the repository.

    All that is kept by version ends with `forget`, which follows its deletion.
    """

    def __init__(
        self, repository: Repository, settings: Settings, metrics: Metrics, changed: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._metrics = metrics
        self._told = changed
        self.routes = Routes(repository, self.is_live)
        self._handles: dict[Key, EngineHandle] = {}
        self._failures = Failures()
        self._sizes: dict[Key, int] = {}
        """What an engine took when it was last measured, for the next time."""
        self._evicted: set[Key] = set()
        """What was unloaded to make room: it is loaded again at its next request."""
        self._locks: weakref.WeakValueDictionary[Key, asyncio.Lock] = weakref.WeakValueDictionary()
        """For as long as somebody holds or awaits one."""
        self._demand = Demand(self._is_due, self.load)
        self._unloads: dict[Key, asyncio.Task[None]] = {}
        """The newest of each version, until it has ended. They end in the order in which they began."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._memory = memory.Memory(settings.memory_budget_bytes, self._handles.values, self._evict)
        self._watch: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """The repository or an engine is not as it was: tell who is served by what now."""
        self.routes.update()
        self._told()

    # --- what is loaded ----------------------------------------------------------------------------------------------

    def view(self, record: Record) -> EngineView:
        handle = self._handles.get(record.key)
        return self._failures.view(record) if handle is None else handle.view

    def is_live(self, record: Record) -> bool:
        handle = self._handles.get(record.key)
        return handle is not None and handle.state is EngineState.LIVE

    def is_loaded(self, record: Record) -> bool:
        """Whether it has an engine that is not about to end."""
        handle = self._handles.get(record.key)
        return handle is not None and handle.state is not EngineState.UNLOADING

    def serves(self, name: str) -> bool:
        """Whether a request of the bare name is answered: by a live version, or by one that it loads."""
        try:
            record = self.routes.resolve(Reference(name))
        except CheckpointNotFound:
            return False
        return self.is_live(record) or (self.loads_on_demand(record) and not self._failures.stands(record))

    def records(self) -> list[Record]:
        """The versions that have an engine, in whatever state."""
        return [handle.record for handle in self._handles.values()]

    def process_id(self, record: Record) -> int | None:
        """Of the version's engine, for tests and operators."""
        handle = self._handles.get(record.key)
        return handle.process_id if handle else None

    def room(self, record: Record) -> Room | None:
        """Where requests that can wait do so for the version's engine; None where it has none to wait for."""
        handle = self._handles.get(record.key)
        return None if handle is None else handle.room

    # --- requests ----------------------------------------------------------------------------------------------------

    def lease(self, record: Record) -> EngineHandle:
        """The engine of a version, which is not unloaded until the caller has let go of it. Raises NotLive."""
        handle = self._handles.get(record.key)
        if handle is None or handle.state is EngineState.UNLOADING:
            state = EngineState.UNLOADED if handle is None else handle.state
            raise NotLive(f"{record.reference} is {state}", retry_after=self._settings.retry_after)
        handle.hold()
        return handle

    def loads_on_demand(self, record: Record) -> bool:
        """Whether a request loads it: the settings say so, or it was unloaded only to make room."""
        lazy = self._settings.load == "lazy" or record.key in self._evicted
        return lazy and record.state is VersionState.READY

    async def ready(self, record: Record, deadline: float) -> None:
        """Before a lease: wait for the engine of a version that is loaded on demand; others are left as they are. As Demand.wait."""
        await self._demand.wait(record, deadline)

    def _is_due(self, record: Record) -> bool:
        handle = self._handles.get(record.key)
        if handle is not None and handle.state in {EngineState.LIVE, EngineState.RESTARTING}:
            return False  # it has an answer now, be it a refusal while it restarts
        if not self.loads_on_demand(record):
            return False
        loads = handle is not None and handle.state is EngineState.LOADING
        if not loads and self._failures.stands(record):
            why = self._failures.view(record).reason
            raise NotLive(f"{record.reference} could not be loaded: {why}", retry_after=STANDS)
        return True

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    async def load(self, record: Record, *, beside: Record | None = None) -> None:
        """Start an engine unless a live one is there. `beside` is not ended to make room for it.

        Raises NotPossible, Overloaded without room for it, what kept the engine from loading, or NotLive while it is being started
        again after a crash.
        """
        if record.state is not VersionState.READY:
            raise NotPossible(f"{record.reference} is {record.state}, not ready", field="checkpoint")
        kept = None if beside is None else self._handles.get(beside.key)
        keep = [] if kept is None else [kept]
        handle = await self._loaded_once(record, keep)
        if handle is not None:
            await self._fit(handle, keep)

    async def _loaded_once(self, record: Record, keep: list[EngineHandle]) -> EngineHandle | None:
        """None where a live engine is there.

        No load begins while an unload of the version waits for the lock: who makes room waits for that unload, and the load for room.
        """
        key = record.key
        while True:
            if (unload := self._unloads.get(key)) is not None:
                await asyncio.wait({unload})
                continue
            async with self._lock(record):
                if key in self._unloads:
                    continue
                there = self._handles.get(key)
                if there is None:
                    return await self._load(record, keep)
                if there.state is EngineState.LIVE:
                    return None
                raise NotLive(f"{record.reference} is {there.state}", retry_after=self._settings.retry_after)

    async def _load(self, record: Record, keep: list[EngineHandle]) -> EngineHandle:
        key, folder = record.key, self._repository.artifact_folder(record)
        try:
            await asyncio.to_thread(self._repository.check_manifest, record)
        except ArtifactCorrupt as error:
            self._failures.add(record, EngineView(reason=error.message))
            self.changed()
            raise
        need = self._sizes.get(key) or memory.estimate(folder)
        handle = EngineHandle(record, folder, self._settings, self._metrics, self.changed, need)
        async with self._memory.room(need, keep):
            self._handles[key] = handle
        self._failures.forget(key)
        try:
            await handle.start()
        except BaseException as error:
            if isinstance(error, Exception):  # who leaves tells nothing of the version
                self._failures.add(record, handle.view)
            self._drop(handle)
            raise
        self._evicted.discard(key)
        if record.parity is not None:
            self._metrics.parity(record.checkpoint, str(record.number), record.parity)
        return handle

    async def _fit(self, handle: EngineHandle, keep: list[EngineHandle]) -> None:
        """The engine may have turned out larger than it was expected to be. Outside its lock, which an eviction may need."""
        self._sizes[handle.record.key] = handle.expected_bytes
        if self._settings.memory_budget_bytes and self._watch is None:
            self._watch = self._start(self._memory.watch(), "memory budget")
        try:
            async with self._memory.room(0, [handle, *keep]):
                pass
        except TrineError as error:
            self._failures.add(handle.record, EngineView(reason=error.message))
            await self.unload(handle.record)
            if isinstance(error, Overloaded):
                # It was unloaded for want of room, which there may be again.
                self._evicted.add(handle.record.key)
            raise

    async def unload(self, record: Record) -> None:
        """Drain and end the engine of a version, if it has one. What was begun is finished, also when the caller leaves."""
        unloading = self.begin_unload(record)
        if unloading is not None:
            await asyncio.shield(unloading)

    def begin_unload(self, record: Record) -> asyncio.Task[None] | None:
        """The same, without waiting for it. A live engine takes no request from this very moment on."""
        self._evicted.discard(record.key)
        handle = self._handles.get(record.key)
        if handle is None:
            self.changed()  # it would have been loaded again by a request, and is not now
            return None
        if handle.state is EngineState.LIVE:
            handle.refuse()
        return self._start_unload(handle, "unload")

    async def _evict(self, handle: EngineHandle) -> None:
        """End an idle engine to make room."""
        handle.refuse()
        self._evicted.add(handle.record.key)
        await asyncio.shield(self._start_unload(handle, "evict"))

    def _start_unload(self, handle: EngineHandle, why: str) -> asyncio.Task[None]:
        key = handle.record.key
        task = self._unloads[key] = self._start(self._unload(handle), f"{why} {handle.record.reference}")
        task.add_done_callback(partial(self._unloaded, key))
        return task

    def _unloaded(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._unloads.get(key) is task:
            del self._unloads[key]

    async def _unload(self, handle: EngineHandle) -> None:
        async with self._lock(handle.record):
            if self._handles.get(handle.record.key) is handle:
                await self._end(handle)

    async def _end(self, handle: EngineHandle) -> None:
        await handle.stop(self._settings.drain_timeout)
        self._sizes[handle.record.key] = handle.expected_bytes
        self._drop(handle)

    def _drop(self, handle: EngineHandle) -> None:
        self._handles.pop(handle.record.key, None)  # `close` may have been quicker
        self._metrics.forget(handle.record.checkpoint, str(handle.record.number))
        self.changed()

    async def close(self, grace: float) -> None:
        """End all engines, giving what they run at most `grace` seconds."""
        if self._watch is not None:
            self._watch.cancel()
        await self._demand.close()
        await asyncio.gather(*(handle.stop(grace) for handle in list(self._handles.values())))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._handles.clear()

    def forget(self, record: Record) -> None:
        """Drop what is remembered of a version that is not loaded: it was deleted."""
        self._forget(record.key)
        self.changed()

    def forget_gone(self, name: str) -> None:
        """The same for each version of a name that somebody else deleted."""
        there = {
            record.key for record in self._repository.state(name).versions.values()
        } | self._handles.keys()
        for key in {*self._failures, *self._sizes, *self._evicted}:
            if key[0] == name and key not in there:
                self._forget(key)

    def _forget(self, key: Key) -> None:
        self._failures.forget(key)
        self._sizes.pop(key, None)
        self._evicted.discard(key)
        self._metrics.forget(key[0], str(key[1]))

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task of its own, which goes on when its caller leaves."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _lock(self, record: Record) -> asyncio.Lock:
        return self._locks.setdefault(record.key, asyncio.Lock())
