"""Servers over one repository, put together as app.py does it, with stand-in engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.front.serving.room import Room
from trine.front.serving.administration import Administration
from trine.front.serving.publisher import Publisher
from trine.front.serving.replica import Replica
from trine.front.serving.watchers import Watchers


class Server(Room):
    """A room that watches its repository, as often as it can."""

    def __init__(self, root: Path, **settings: Any) -> None:
        super().__init__(root, **{"watch_interval": 0.05, **settings})
        self.watchers = Watchers(self.repository, self.pool)
        self.replica = Replica(self.repository, self.pool, self.rollout, self.watchers, self.settings)
        publisher = Publisher(self.repository, self.pool, self.rollout, self.settings, self.metrics)
        self.administration = Administration(
            self.repository, self.pool, publisher, self.rollout, self.watchers
        )

    def changed(self) -> None:
        super().changed()
        self.replica.update()

    async def end(self) -> None:
        await self.pool.close(0.0)
        await self.replica.stop()
