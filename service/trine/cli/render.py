"""What a person or a machine sees: answers on stdout, progress and errors on stderr; colors only where a terminal is."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from trine.client import (
    CheckpointInfo,
    Classification,
    Parity,
    Progress,
    TokenClassification,
    VersionInfo,
)
from trine.errors import TrineError

# Foreign text is shown as it is: no markup, no emoji codes, no guessed colors.
_console = functools.partial(Console, markup=False, emoji=False, highlight=False)
_out = _console()
_err = _console(stderr=True)
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
    words = " ".join(message.split()).translate(_CONTROLS)
    _err.print(f"error: {words}", style="red", soft_wrap=True)


def line(text: str) -> None:
    _out.print(text.translate(_CONTROLS), soft_wrap=True)


def text_part(text: str) -> None:
    """A piece of streamed text, at once."""
    sys.stdout.write(text.translate(_CONTROLS))
    sys.stdout.flush()


def texts(answers: Iterable[str]) -> None:
    for answer in answers:
        line(answer)


def json_value(value: Any) -> None:
    """Any answer of the SDK, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


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
    table = _table("label", "score", "text")
    table.columns[2].overflow = "ellipsis"
    table.columns[2].no_wrap = True
    for text, result in zip(inputs, results, strict=True):
        for place, label in enumerate(result.labels):
            table.add_row(_safe(label.name), f"{label.score:.4f}", _safe(_short(text)) if place == 0 else "")
    _print_table(table)


def token_classifications(inputs: Sequence[str], results: Sequence[TokenClassification]) -> None:
    """Entities with their places; with several texts each begins its own rows."""
    table = _table("label", "score", "entity", "begin", "end", "text")
    for column in ("entity", "text"):
        place = next(one for one in table.columns if one.header == column)
        place.overflow, place.no_wrap = "ellipsis", True
    for text, result in zip(inputs, results, strict=True):
        for row, one in enumerate(result.entities):
            table.add_row(
                _safe(one.label),
                f"{one.score:.4f}",
                _safe(_short(one.text)),
                str(one.begin),
                str(one.end),
                _safe(_short(text)) if row == 0 else "",
            )
    _print_table(table)


def checkpoints(found: Sequence[CheckpointInfo]) -> None:
    """One row for each version; on a narrow terminal the long words fold, the reference and the states do not."""
    table = _table("version", "aliases", "task", "family", "state", "engine", "parity", "size")
    for column in table.columns:
        column.no_wrap = column.header in {"version", "state", "engine"}
        column.overflow = "fold"
    for entry in found:
        for version in entry.versions:
            table.add_row(
                version.reference,
                " ".join(_aliases(entry, version)),
                version.task,
                version.family,
                version.state,
                version.engine_state,
                _verdict(version.parity),
                _size(version.size_bytes),
            )
    _print_table(table)


def checkpoint(found: CheckpointInfo) -> None:
    """A block for each version, with the gate's figures."""
    for version in found.versions:
        line("  ".join([version.reference, *_aliases(found, version)]))
        facts = Table.grid(padding=(0, 2))
        for name, value in _facts(version):
            if value:
                facts.add_row(f"  {name}", _safe(value))
        _print_table(facts)
        if version.parity is not None:
            _print_table(_parity_table(version.parity))


def _aliases(found: CheckpointInfo, version: VersionInfo) -> list[str]:
    return [f"@{alias}" for alias, number in sorted(found.aliases.items()) if number == version.number]


def _facts(version: VersionInfo) -> list[tuple[str, str]]:
    load = f", loaded in {version.load_seconds:.2f} s" if version.load_seconds is not None else ""
    restarts = f", restarts: {version.restarts}" if version.restarts else ""
    return [
        ("task", version.task),
        ("architecture", f"{version.architecture} ({version.family})"),
        ("state", version.state),
        ("engine", f"{version.engine_state}{load}{restarts}"),
        ("reason", version.reason),
        ("precision", _precision(version)),
        ("labels", ", ".join(version.labels)),
        ("tokens", _limits(version)),
        ("parameters", f"{version.parameters:,}"),
        ("size", _size(version.size_bytes)),
        ("digest", version.digest),
        ("registered", version.create_time.isoformat(" ", "seconds") if version.create_time else ""),
        ("parity", _verdict(version.parity)),
    ]


def _precision(version: VersionInfo) -> str:
    form = f", weights {version.weight_form}" if version.weight_form else ""
    return f"{version.precision}{form}" + (
        f" ({version.precision_reason})" if version.precision_reason else ""
    )


def _limits(version: VersionInfo) -> str:
    if version.family == "decoder":
        return f"{version.max_input_tokens} of prompt and new text together"
    written = f", {version.max_output_tokens} out" if version.max_output_tokens else ""
    return f"{version.max_input_tokens} in{written}"


def _parity_table(parity: Parity) -> Table:
    table = _table("    check", "value", "limit", "compared", "passed")
    for check in parity.checks:
        limit = f"{'at least' if check.at_least else 'at most'} {check.limit:.3g}"
        table.add_row(
            f"    {check.name}",
            f"{check.value:.3g}",
            limit,
            str(check.count),
            "yes" if check.passed else "NO",
        )
    return table


def _verdict(parity: Parity | None) -> str:
    if parity is None:
        return ""
    return "passed" if parity.passed else "failed, overridden" if parity.overridden else "failed"


def _size(count: int) -> str:
    """Bytes for people, in decimal units; empty for 0."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.3g} {unit}" if count else ""


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:59]}…"


def _safe(text: str) -> str:
    return text.translate(_CONTROLS)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def _print_table(table: Table) -> None:
    (_out if _out.is_terminal else _pipe).print(table)


class RegistrationProgress:
    """Stages on stderr: bars on a terminal, a line for each stage elsewhere."""

    def __init__(self) -> None:
        self._stage = ""
        self._task: TaskID | None = None
        self._bars = ProgressBar(
            TextColumn("{task.description:9}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=_err,
            disable=not _err.is_terminal,
        )

    def update(self, step: Progress) -> None:
        note = step.message.translate(_CONTROLS)
        if self._bars.disable:
            if step.stage != self._stage:
                _err.print(f"{step.stage}: {note}", soft_wrap=True)
        elif step.stage != self._stage:
            self._finish()
            self._task = self._bars.add_task(step.stage, total=1.0, note=note)
        if self._task is not None:
            self._bars.update(self._task, completed=step.fraction, note=note)
        self._stage = step.stage

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1.0)
            self._bars.stop_task(self._task)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()
