"""Log lines: one event is one line, whatever stands in it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from trine.telemetry import logs

HOSTILE = 'a\nb\r\x1b[31m\x00\x7f\x9b\u2028\u202e{"level": "error"}'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.split("\n")[:-1]


def test_an_event_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True)
    logging.getLogger("trine.test").warning("engine %s died", "a:1", extra={"restarts": 2})
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {"event": "engine a:1 died", "level": "warning", "logger": "trine.test", "restarts": 2}


def test_an_exception_is_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True)
    try:
        raise KeyError(HOSTILE)
    except KeyError:
        logging.getLogger("trine.test").exception("it failed")
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event["event"] == "it failed"
    assert event["exception"].startswith("Traceback")
    assert "exc_info" not in event


def test_control_characters_survive_only_as_json_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True)
    logging.getLogger("trine.test").info("said %s", HOSTILE, extra={"more": HOSTILE})
    (line,) = lines(capsys)
    assert line.isprintable()
    event = json.loads(line)
    assert (event["event"], event["more"]) == (f"said {HOSTILE}", HOSTILE)


def test_control_characters_are_escaped_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=False)
    logging.getLogger("trine.test").info("said %s", HOSTILE, extra={"more": HOSTILE})
    (line,) = lines(capsys)
    assert line.isprintable()
    assert "a\\nb\\r\\x1b[31m" in line


def test_a_traceback_for_people_keeps_its_lines_only(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=False)
    try:
        raise ValueError("\x1b[31m red")
    except ValueError:
        logging.getLogger("trine.test").exception("it failed")
    printed = lines(capsys)
    assert any("ValueError" in line for line in printed)
    assert all("\x1b" not in line for line in printed)


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", json=True)
    logging.getLogger("trine.test").info("quiet")
    logging.getLogger("trine.test").warning("loud")
    assert [json.loads(line)["event"] for line in lines(capsys)] == ["loud"]


def test_configuring_twice_does_not_double(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True)
    logs.configure("INFO", json=True)
    logging.getLogger("trine.test").info("once")
    assert len(lines(capsys)) == 1


def test_warnings_are_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", UserWarning, stacklevel=1)
    (line,) = lines(capsys)
    assert "old thing" in json.loads(line)["event"]
