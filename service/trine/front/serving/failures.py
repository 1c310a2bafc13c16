"""Why a version's last load failed, until it is loaded again. Front process, event loop only."""

from __future__ import annotations

import time
from collections.abc import Iterator

from trine.front.serving.views import EngineView
from trine.registry.records import Key, Record

STANDS = 5.0
"""Seconds in which a request does not try again to load what could not be loaded."""


class Failures:
    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, EngineView]] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._known)

    def add(self, record: Record, view: EngineView) -> None:
        self._known[record.key] = (time.monotonic(), view)

    def view(self, record: Record) -> EngineView:
        """The engine as it failed; empty without a failure."""
        _, view = self._known.get(record.key, (0.0, EngineView()))
        return view

    def stands(self, record: Record) -> bool:
        """Whether it is too early to try again."""
        at, _ = self._known.get(record.key, (float("-inf"), EngineView()))
        return time.monotonic() - at < STANDS

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
