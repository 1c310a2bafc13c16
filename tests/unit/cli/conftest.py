"""`trine` run in this process against the client tests' fake server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from tests.unit.client.fake_server import FakeServer
from trine.cli.main import app

Trine = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def trine(server: FakeServer) -> Trine:
    """Runs one command line. Both targets come from the environment, as a user sets them."""
    runner = CliRunner(env={"TRINE_TARGET": server.target, "TRINE_ADMIN_TARGET": server.target})

    def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
        result = runner.invoke(app, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
