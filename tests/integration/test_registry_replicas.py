"""Two servers on one repository: whatever one does the other has seen 5 seconds later, and no call to either fails meanwhile."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.server import CHECKPOINTS, Server, until
from tests.integration.versions import add_version, with_other_labels
from trine.client import Change, CheckpointInfo, Client
from trine.errors import CheckpointNotFound, Draining, NotPossible, TrineError

PROMISED = 5.0
"""Seconds in which a change is seen by every server."""
REVIEW = "This film is a delight from start to finish."


@pytest.fixture
def shared(repository: Path, tmp_path: Path) -> Path:
    """sentiment:1, which is live, and sentiment:2, which has other labels."""
    shutil.copytree(repository / "sentiment", tmp_path / "shared" / "sentiment")
    add_version(tmp_path / "shared", "sentiment", with_other_labels)
    return tmp_path / "shared"


@pytest.fixture
def servers(shared: Path, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    options: dict[str, Any] = {"engine_threads": 1}
    with (
        Server(tmp_path / "one", shared, **options) as one,
        Server(tmp_path / "b", shared, **options) as other,
    ):
        one.wait_ready()
        other.wait_ready()
        yield one, other


def names(client: Client) -> list[str]:
    return [found.name for found in client.list()]


def label(client: Client) -> str:
    return client.classify("sentiment", REVIEW).labels[0].name


class Caller(threading.Thread):
    """Classifies over and over; keeps what it was answered and what failed."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._end = threading.Event()
        self.answers: list[str] = []
        self.failures: list[TrineError] = []

    def run(self) -> None:
        with self._server.client() as client:
            while not self._end.is_set():
                try:
                    self.answers.append(label(client))
                except TrineError as error:
                    self.failures.append(error)
                time.sleep(0.01)  # the engines that load beside need the processor too

    def end(self) -> None:
        self._end.set()
        self.join()


def test_an_alias_moves_on_every_server_and_no_call_fails(servers: tuple[Server, Server]) -> None:
    one, other = servers
    with one.client() as first, other.client() as second:
        caller = Caller(other)
        caller.start()
        until(lambda: bool(caller.answers))
        first.set_alias("sentiment:2", "live")
        assert label(first) == "second positive"
        until(lambda: second.get("sentiment").aliases == {"live": 2}, PROMISED)
        until(lambda: caller.answers[-1] == "second positive")
        first.set_alias("sentiment:1", "live")
        until(lambda: second.get("sentiment").aliases == {"live": 1}, PROMISED)
        until(lambda: caller.answers[-1] == "positive")
        caller.end()
        assert caller.failures == []
        turns = [a for a, b in zip(caller.answers, [None, *caller.answers], strict=False) if a != b]
        assert turns == ["positive", "second positive", "positive"], "each version once, and never back"


def test_a_watch_on_one_server_tells_what_the_other_does(servers: tuple[Server, Server]) -> None:
    one, other = servers
    with one.client() as first, other.client() as second, second.watch("sentiment") as changes:

        def seen(wanted: Callable[[CheckpointInfo], bool]) -> Change:
            return next(told for told in changes if told.checkpoint and wanted(told.checkpoint))

        first.set_alias("sentiment:2", "canary")
        seen(lambda found: found.aliases.get("canary") == 2)
        first.delete_alias("sentiment@canary")
        seen(lambda found: "canary" not in found.aliases)
        second.load("sentiment:2")
        seen(lambda found: found.versions[1].engine_state == "live")
        with pytest.raises(NotPossible, match="sentiment:2 is loaded by a server of this repository"):
            first.delete("sentiment:2")
        second.unload("sentiment:2")
        first.delete("sentiment:2")
        seen(lambda found: len(found.versions) == 1)
        with pytest.raises(CheckpointNotFound):
            second.classify("sentiment:2", REVIEW)
        for client in (first, second):
            client.unload("sentiment")
        first.delete("sentiment")
        assert next(told for told in changes if told.deleted).checkpoint == CheckpointInfo(
            "sentiment", (), {}
        )
        other.process.send_signal(signal.SIGTERM)
        with pytest.raises(Draining):
            next(changes)
        assert other.stop(seconds=10) == 0, "a watch does not hold the drain up"


def test_what_a_killed_server_was_registering_is_gone_without_a_restart(
    servers: tuple[Server, Server], shared: Path
) -> None:
    one, other = servers
    with one.client() as first, other.client() as second:
        with first.register("fresh", CHECKPOINTS / "sentiment-en"):
            until(lambda: "fresh" in names(second), PROMISED)
            assert second.get("fresh").versions[0].state == "exporting"
            one.stop(signal.SIGKILL)
        until(lambda: "fresh" not in names(second), 2 * PROMISED)
        assert not (shared / "fresh").exists()
        assert label(second) == "positive"
