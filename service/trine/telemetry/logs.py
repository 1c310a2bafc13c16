"""Logs of a whole process: the standard `logging`, rendered by structlog, to standard error. Any process, once at its start.

Everyone logs with `logging.getLogger(__name__)`. One event is one line: control characters are escaped, so that no text can forge
a second line or reach the terminal.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

# C0, DEL, C1, the two Unicode line ends, and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROLS_OF_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def configure(level: str, json: bool) -> None:
    """Send everything at `level` (as logging spells it) and above to standard error, as JSON lines or for people to read."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def _formatter(json: bool) -> logging.Formatter:
    render: list[Processor]
    if json:
        # ASCII only, so that JSON's own escapes cover every control character.
        render = [structlog.processors.JSONRenderer(ensure_ascii=True)]
    else:
        render = [_escape, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            *render,
        ],
    )


def _escape(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            # A traceback is the one text whose line ends are ours.
            controls = _CONTROLS_OF_LINES if key == "exception" else _CONTROLS
            event[key] = controls.sub(lambda match: match[0].encode("unicode_escape").decode(), value)
    return event
