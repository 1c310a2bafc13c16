"""What a person or a machine sees: answers on stdout, progress and errors on stderr; colors only where a terminal is."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from trine.client import Classification, TokenClassification
from trine.errors import TrineError

T = TypeVar("T")

# Foreign text is shown as it is: no markup, no emoji codes, no guessed colors.
_console = functools.partial(Console, markup=False, emoji=False, highlight=False)
_out = _console()
err = _console(stderr=True)
_pipe = _console(width=1_000_000)  # never folds a table

# Control characters of a checkpoint's or a server's text could drive the terminal; newline and tab are harmless.
_CONTROLS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A})


def failure(error: TrineError) -> None:
    """An error of the server or of the connection."""
    field = f" {error.field}:" if error.field else ""
    pause = f" (try again in {error.retry_after:g} s)" if error.retry_after else ""
    complain(f"{error.reason}:{field} {error.message}{pause}")


def complain(message: str) -> None:
    """One red line on stderr."""
    words = safe(" ".join(message.split()))
    err.print(f"error: {words}", style="red", soft_wrap=True)


def line(text: str) -> None:
    _out.print(safe(text), soft_wrap=True)


def text_part(text: str) -> None:
    """A piece of streamed text, at once."""
    sys.stdout.write(safe(text))
    sys.stdout.flush()


def texts(answers: Iterable[str]) -> None:
    for answer in answers:
        line(answer)


def json_value(value: Any) -> None:
    """Any answer of the SDK, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def answer(value: T, json: bool, show: Callable[[T], None]) -> None:
    """For machines, or as `show` shows it to people."""
    if json:
        json_value(value)
    else:
        show(value)


def json_line(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, array):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"no JSON for {type(value).__name__}")


def classifications(inputs: Sequence[str], results: Sequence[Classification]) -> None:
    """Labels with scores; with several texts each begins its own rows."""
    rows = table("label", "score", "text")
    rows.columns[2].overflow = "ellipsis"
    rows.columns[2].no_wrap = True
    for text, result in zip(inputs, results, strict=True):
        for place, label in enumerate(result.labels):
            rows.add_row(safe(label.name), f"{label.score:.4f}", safe(_short(text)) if place == 0 else "")
    print_table(rows)


def token_classifications(inputs: Sequence[str], results: Sequence[TokenClassification]) -> None:
    """Entities with their places; with several texts each begins its own rows."""
    rows = table("label", "score", "entity", "begin", "end", "text")
    for column in ("entity", "text"):
        place = next(one for one in rows.columns if one.header == column)
        place.overflow, place.no_wrap = "ellipsis", True
    for text, result in zip(inputs, results, strict=True):
        for row, one in enumerate(result.entities):
            rows.add_row(
                safe(one.label),
                f"{one.score:.4f}",
                safe(_short(one.text)),
                str(one.begin),
                str(one.end),
                safe(_short(text)) if row == 0 else "",
            )
    print_table(rows)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:59]}…"


def safe(text: str) -> str:
    return text.translate(_CONTROLS)


def table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def print_table(rows: Table) -> None:
    (_out if _out.is_terminal else _pipe).print(rows)
