"""One repository with the three demo checkpoints, exported and proved once a session, and one server over it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.server import CHECKPOINTS, Server
from trine.client import Client

NAMES = {"sentiment": "sentiment-en", "verse": "verse", "en-fr": "en-fr"}


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Registered by a server that has ended since. Tests that change it take `repository_copy`.

    While working on tests, TRINE_TEST_REPOSITORY may name a folder that was registered before, to save the exports.
    """
    if ready := os.environ.get("TRINE_TEST_REPOSITORY"):
        return Path(ready)
    folder = tmp_path_factory.mktemp("repository")
    with Server(tmp_path_factory.mktemp("registering"), folder) as server, server.client() as client:
        for name, checkpoint in NAMES.items():
            steps = list(client.register(name, CHECKPOINTS / checkpoint))
            assert steps[-1].version is not None
            assert steps[-1].version.state == "ready", steps[-1].message
    return folder


@pytest.fixture
def repository_copy(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository, tmp_path / "repository"))


@pytest.fixture(scope="session")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests call but do not break."""
    with Server(tmp_path_factory.mktemp("serving"), repository) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client
