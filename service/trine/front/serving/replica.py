"""This server as one of several on one repository: what it holds so that none deletes it, and what it does when others change something.

Front process, event loop; the looking itself is done in a thread (registry.watch).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from trine.config import Settings
from trine.errors import TrineError
from trine.front.serving.pool import Pool
from trine.front.serving.rollout import Rollout
from trine.front.serving.watchers import Watchers
from trine.registry.lock import Hold
from trine.registry.quota import Quota
from trine.registry.records import Key, Record
from trine.registry.repository import Repository
from trine.registry.watch import Watch

logger = logging.getLogger(__name__)


class Replica:
    """Made on the loop that will run it. `start` begins to watch; until then the repository is as it was read."""

    def __init__(
        self,
        repository: Repository,
        pool: Pool,
        rollout: Rollout,
        watchers: Watchers,
        settings: Settings,
    ) -> None:
        self._repository = repository
        self._pool = pool
        self._rollout = rollout
        self._watchers = watchers
        self._watch = Watch(repository, settings.watch_interval)
        self._quota = Quota(repository, settings.max_repository_bytes, settings.max_versions)
        self._prunes = settings.max_versions > 0
        self._load = settings.load
        self._known: dict[str, dict[int, Record]] = {}
        self._noted: dict[str, None] = {}
        self._holds: dict[Key, Hold] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """From now on every change of the repository is told, whoever made it."""
        loop = asyncio.get_running_loop()

        def heard(name: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._note, name)

        self._known = {name: self._versions(name) for name in self._repository.names()}
        self._repository.listen(heard)
        self._start(self._watch.run(self._follow), "watch the repository")

    async def stop(self) -> None:
        """The engines have ended, or are about to."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for hold in self._holds.values():
            hold.release()
        self._holds.clear()

    def update(self) -> None:
        """An engine is not as it was: hold what is loaded, let go of what is not, tell the watchers."""
        loaded = {record.key: record for record in self._pool.records()}
        for key in self._holds.keys() - loaded.keys():
            self._holds.pop(key).release()
            if self._prunes:
                self._start(self._prune(key[0]), f"prune {key[0]}")
        for key in loaded.keys() - self._holds.keys():
            hold = self._repository.hold(loaded[key])
            if hold.take():
                self._holds[key] = hold
        self._watchers.update()

    def _note(self, name: str) -> None:
        """Names that change together are told together: what follows looks at every name there is."""
        if not self._noted:
            asyncio.get_running_loop().call_soon(self._tell_all)
        self._noted[name] = None

    def _tell_all(self) -> None:
        names, self._noted = self._noted, {}
        self._pool.changed()
        for name in names:
            self._tell(name)
        self._follow({name for name in names if self._is_behind(name)})

    def _tell(self, name: str) -> None:
        before, now = self._known.get(name, {}), self._versions(name)
        self._known[name] = now
        if not now:
            del self._known[name]
        for record in before.values():
            if record.number not in now or record.key != now[record.number].key:
                self._pool.forget(record)
        self._watchers.tell(name)

    def _follow(self, names: set[str]) -> None:
        """What is not loaded here, and is not to be, needs no following."""
        loaded = {record.checkpoint for record in self._pool.records()}
        for name in names if self._load == "live" else names & loaded:
            self._start(self._rollout.follow(name), f"follow {name}")

    def _is_behind(self, name: str) -> bool:
        """Whether an alias means another version than the one that answers for it here: this server may have come upon another's move
        before the watch did, as when it registers the same name."""
        served = self._pool.routes.served(name)
        return any(
            served[alias].number != number and self._pool.is_live(served[alias])
            for alias, number in self._repository.state(name).aliases.items()
            if alias in served
        )

    def _versions(self, name: str) -> dict[int, Record]:
        return dict(self._repository.state(name).versions)

    async def _prune(self, name: str) -> None:
        """A version beyond the limit stays while it is loaded; this is when it is not any more."""
        try:
            await asyncio.to_thread(self._quota.prune, name)
        except (TrineError, OSError) as error:
            logger.warning("cannot prune", extra={"checkpoint": name, "error": type(error).__name__})

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%s failed", task.get_name(), exc_info=task.exception())
