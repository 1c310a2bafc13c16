"""Permits for requests: taken before any work, refused at once when there is none. Front process, event loop only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trine.config import Settings
from trine.errors import Draining, InvalidInput, Overloaded
from trine.front.serving.room import Room
from trine.telemetry.metrics import Metrics


class Admission:
    """Counts what is in flight over all checkpoints: requests, and bytes of text."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.requests = 0
        self.bytes = 0
        self.draining = False
        self.room = Room(self._is_room_for_streams)
        """For requests that can wait: they leave half of all to those that would be refused."""

    def take(self, texts: Sequence[str], field: Callable[[int], str]) -> int:
        """A permit for one request, as its bytes. Raises InvalidInput, with `field` of the input's index, Overloaded or Draining."""
        self._check_sizes(texts, field)
        size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
        self._check_room(size)
        self.requests += 1
        self.bytes += size
        return size

    def give_back(self, size: int) -> None:
        self.requests -= 1
        self.bytes -= size
        self.room.freed()

    def _check_sizes(self, texts: Sequence[str], field: Callable[[int], str]) -> None:
        if len(texts) > self._settings.max_inputs:
            self._metrics.rejected("too_large")
            raise InvalidInput(
                f"{len(texts)} inputs; one request may have {self._settings.max_inputs}", field="inputs"
            )
        for index, text in enumerate(texts):
            if len(text) > self._settings.max_characters:
                self._metrics.rejected("too_large")
                raise InvalidInput(
                    f"{len(text)} characters; one input may have {self._settings.max_characters}",
                    field=field(index),
                )

    def _check_room(self, size: int) -> None:
        if self.draining:
            self._metrics.rejected("draining")
            raise Draining("the server is about to stop", retry_after=self._settings.retry_after)
        full = self.requests >= self._settings.max_requests
        if full or self.bytes + size > self._settings.max_inflight_bytes:
            self._metrics.rejected("queue_full")
            raise Overloaded("too many requests are in flight", retry_after=self._settings.retry_after)

    def _is_room_for_streams(self) -> bool:
        settings = self._settings
        return (
            self.draining  # then `take` says so
            or (
                self.requests < max(1, settings.max_requests // 2)
                and self.bytes < settings.max_inflight_bytes // 2
            )
        )
