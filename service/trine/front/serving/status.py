"""Who is ready: the server as a whole, and each checkpoint by name. Front process, event loop only."""

from __future__ import annotations

from collections.abc import Callable

from trine.front.serving.pool import Pool
from trine.registry.repository import Repository

Callback = Callable[[str, bool | None], None]
"""Name and whether it is served; None when there is no such name any more."""


class Status:
    """The server is ready once it listens and every version asked for at start is live or has failed to load.

    A later crash flips only the checkpoint's own name; draining flips the server.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._pool: Pool | None = None
        self._callbacks: list[Callback] = []
        self._told = {"": False}
        self.ready = False
        self.serving: dict[str, bool] = {}

    def attach(self, pool: Pool) -> None:
        self._pool = pool

    def set_ready(self, ready: bool) -> None:
        self.ready = ready
        self.update()

    def update(self) -> None:
        """Compare with what was told before, and tell the changes."""
        self.serving = {name: self._is_serving(name) for name in self._repository.names()}
        now = {"": self.ready, **self.serving}
        for name in {**self._told, **now}:
            if self._told.get(name) != now.get(name):
                for callback in self._callbacks:
                    callback(name, now.get(name))
        self._told = now

    def subscribe(self, callback: Callback) -> None:
        """Call back at each change, and at once for what is so now."""
        self._callbacks.append(callback)
        for name, serving in {"": self.ready, **self.serving}.items():
            callback(name, serving)

    def _is_serving(self, name: str) -> bool:
        return self._pool is not None and self._pool.serves(name)
