"""An error is one line on stderr: reason, field, message. Exit status 1, or 2 for a wrong command line; never a traceback."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import grpc
import pytest

import trine as trine_package
from tests.unit.cli.conftest import Trine
from tests.unit.client.fake_server import FakeServer, retry_after, status, violation
from trine import __version__


def test_reason_field_and_message(trine: Trine, server: FakeServer) -> None:
    refused = status(
        grpc.StatusCode.NOT_FOUND,
        "CHECKPOINT_NOT_FOUND",
        "no checkpoint is\nnamed x",
        violation("checkpoint"),
    )
    server.failures += [refused, refused]
    for command in (["classify", "x", "text", "--json"], ["generate", "x", "text", "--stream"]):
        result = trine(*command)
        assert result.exit_code == 1
        assert result.stderr == "error: CHECKPOINT_NOT_FOUND: checkpoint: no checkpoint is named x\n"
        assert result.stdout == ""


def test_the_pause_is_told(trine: Trine, server: FakeServer) -> None:
    server.failures.append(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "full", retry_after(0.5)))
    assert trine("translate", "en-fr", "x").stderr == "error: OVERLOADED: full (try again in 0.5 s)\n"


def test_an_error_in_the_middle_of_a_registration(trine: Trine, server: FakeServer) -> None:
    server.failures.append(
        status(grpc.StatusCode.FAILED_PRECONDITION, "UNSAFE_CHECKPOINT", "pickle weights only")
    )
    result = trine("register", "x", "folder")
    assert (result.exit_code, result.stderr) == (1, "error: UNSAFE_CHECKPOINT: pickle weights only\n")


def test_an_unreachable_server_is_named(trine: Trine) -> None:
    result = trine("health", "--target", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: TRY_LATER: no answer from 127.0.0.1:1")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["classify", "sentiment"], ["generate", "v", "x", "--seed", "many"], ["fly"]]
)
def test_a_wrong_command_line_has_status_2(trine: Trine, arguments: list[str]) -> None:
    assert trine(*arguments).exit_code == 2


def test_the_version(trine: Trine) -> None:
    assert trine("--version").stdout == f"trine {__version__}\n"


# --- serve -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings that a stand-in for trine.app was started with."""
    found: list[Any] = []

    def main(settings: Any, config: Any) -> int:
        found.append(settings)
        return 3

    app = ModuleType("trine.app")
    app.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trine.app", app)
    monkeypatch.setattr(trine_package, "app", app, raising=False)
    return found


def test_serve_lays_its_options_over_the_environment(
    trine: Trine, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRINE_HTTP_PORT", "9002")
    monkeypatch.setenv("TRINE_GRPC_PORT", "9001")
    result = trine("serve", "--grpc-port", "0", "--repository", "somewhere", "--load", "none")
    assert result.exit_code == 3, "the server's own exit status"
    (settings,) = started
    assert (settings.grpc_port, settings.http_port) == (0, 9002)
    assert (str(settings.repository), settings.load) == ("somewhere", "none")


def test_serve_names_the_setting_at_fault(
    trine: Trine, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRINE_MAX_REQUESTS", "0")
    result = trine("serve")
    assert (result.exit_code, started) == (2, [])
    assert result.stderr.startswith("error: TRINE_MAX_REQUESTS: ")
    assert len(result.stderr.splitlines()) == 1


def test_serve_without_its_extra_says_what_to_install(trine: Trine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("app", "config"):
        monkeypatch.delattr(trine_package, name, raising=False)
        monkeypatch.delitem(sys.modules, f"trine.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    result = trine("serve")
    assert result.exit_code == 1
    assert result.stderr == "error: serving needs the package uvloop: pip install 'trine[serve]'\n"
