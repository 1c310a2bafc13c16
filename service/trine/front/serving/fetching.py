"""The first part of a registration from the hub: its files, with progress. Front process, event loop; the fetch itself is a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from trine.config import Settings
from trine.errors import Draining
from trine.front.serving.views import Progress
from trine.registry.hub import Fetch, Snapshot
from trine.registry.quota import Quota
from trine.registry.source import Hub

SHARE = 0.9
"""Of the stage "read"; the rest is for what an export of a folder reads too."""
_TELL_EVERY = 0.5


async def fetched(
    source: Hub, settings: Settings, quota: Quota, stopping: asyncio.Event
) -> AsyncGenerator[Progress | Snapshot, None]:
    """Progress, at last the snapshot whose folder has all its files. Closing the iterator ends the fetch.

    Raises what registry.hub raises, RepositoryFull, and Draining as soon as the server is about to stop.
    """
    cache = settings.hub_cache or settings.repository / ".hub"
    fetch = Fetch(settings.hub_endpoint, settings.hub_token_file, cache)
    try:
        yield Progress("read", 0.0, f"asking the hub for {source.repo_id}")
        snapshot = await asyncio.to_thread(fetch.resolve, source)
        if cache.absolute().is_relative_to(settings.repository.absolute()):
            await asyncio.to_thread(quota.require, snapshot.missing)
        task = asyncio.ensure_future(asyncio.to_thread(fetch.download, source, snapshot))
        task.add_done_callback(_retrieve)
        total = sum(snapshot.sizes.values())
        while not task.done():
            if stopping.is_set():
                raise Draining("the server is about to stop")
            yield Progress("read", SHARE * fetch.done / max(1, total), _told(fetch.done, total))
            await asyncio.wait({task}, timeout=_TELL_EVERY)
        task.result()
        yield snapshot
    finally:
        fetch.cancel()


def _told(done: int, total: int) -> str:
    return f"fetched {done / 1e6:.1f} of {total / 1e6:.1f} MB"


def _retrieve(task: asyncio.Future[None]) -> None:
    """A thread that is left alone ends with an error that nobody waits for."""
    if not task.cancelled():
        task.exception()
