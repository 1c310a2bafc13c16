"""What the engine measures between two frames, and when that is worth a message. Engine process, its only thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trine import frames
from trine.engine.scheduling.call import Item
from trine.engine.scheduling.sequence import Sequence as Generation

_RSS_EVERY = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Meter:
    """Collects measurements for `frames.Observed`; durations in seconds of `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._measured: dict[str, list[Any]] = {}
        self._counted: dict[str, int] = {}
        self._gauges: tuple[int, int, float, int, int] | None = None
        self._prefix_bytes = 0
        self._rss = 0
        self._rss_read = float("-inf")

    def forget(self) -> None:
        """Drop what was measured so far: a warm-up is no caller's business."""
        self._measured, self._counted = {}, {}

    def tokenized(self, seconds: float) -> None:
        self._measure("tokenize", seconds)

    def ran(self, batch: Sequence[Item], began: float) -> None:
        """One run of a graph, begun at `began`, has just ended."""
        self._measure("compute", self._clock() - began)
        self._measure("batch_size", len(batch))
        self._measure("batch_tokens", sum(item.chunk * item.lanes for item in batch))
        for item in batch:
            if item.started is None:
                item.started = began
                self._measure("queue", began - item.call.arrived)
                self._count("input_tokens", len(item.tokens))

    def wrote(self, sequence: Generation) -> None:
        """A sequence has just got a token."""
        now = self._clock()
        if sequence.token_at is None:
            self._measure("first_token", now - sequence.call.arrived)
        else:
            self._measure("inter_token", now - sequence.token_at)
        sequence.token_at = now
        self._count("output_tokens", 1)

    def looked_up(self, tokens: int, hits: int) -> None:
        """A prompt of `tokens` was looked up in the prefix cache, which had `hits` of them."""
        self._count("prefix_lookup_tokens", tokens)
        self._count("prefix_hit_tokens", hits)

    def kept(self, prefix_bytes: int) -> None:
        """What the prefix cache takes now."""
        self._prefix_bytes = prefix_bytes

    def wasted(self, tokens: int) -> None:
        """Tokens that were computed for a call that ended early."""
        self._count("wasted_tokens", tokens)

    def take(self, waiting: int, running: int, cache_used: float) -> frames.Observed | None:
        """All since the last time, or None when nothing changed. Reads the process's memory at most once a second."""
        now = self._clock()
        if now - self._rss_read >= _RSS_EVERY:
            self._rss, self._rss_read = _resident_bytes(), now
        gauges = (waiting, running, cache_used, self._rss, self._prefix_bytes)
        if not self._measured and not self._counted and gauges == self._gauges:
            return None
        values: dict[str, Any] = {**self._measured, **self._counted}
        self._gauges, self._measured, self._counted = gauges, {}, {}
        return frames.Observed(*gauges, **values)

    def _measure(self, name: str, value: float) -> None:
        self._measured.setdefault(name, []).append(value)

    def _count(self, name: str, number: int) -> None:
        if number:
            self._counted[name] = self._counted.get(name, 0) + number


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
