"""What `trine list`, `show`, `watch`, `report`, `architectures` and `register` show of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from trine.cli.render import err, line, print_table, safe, table
from trine.client import Architecture, Change, CheckpointInfo, ExportReport, Parity, Progress, VersionInfo

_STAGES = ("read", "export", "optimize", "quantize", "verify", "publish")


def checkpoints(found: Sequence[CheckpointInfo]) -> None:
    """One row for each version; on a narrow terminal the long words fold, the reference and the states do not."""
    rows = table("version", "aliases", "task", "family", "state", "engine", "parity", "size")
    for column in rows.columns:
        column.no_wrap = column.header in {"version", "state", "engine"}
        column.overflow = "fold"
    for entry in found:
        for version in entry.versions:
            rows.add_row(
                version.reference,
                " ".join(_aliases(entry, version)),
                version.task,
                version.family,
                version.state,
                version.engine_state,
                _verdict(version.parity),
                _size(version.size_bytes),
            )
    print_table(rows)


def checkpoint(found: CheckpointInfo) -> None:
    """A block for each version, with the gate's figures."""
    for version in found.versions:
        line("  ".join([version.reference, *_aliases(found, version)]))
        facts = Table.grid(padding=(0, 2))
        for name, value in _facts(version):
            if value:
                facts.add_row(f"  {name}", safe(value))
        print_table(facts)
        if version.parity is not None:
            print_table(_parity_table(version.parity))


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
        ("memory", _size(version.resident_bytes)),
        ("base", " ".join(filter(None, (version.lineage.base_checkpoint, version.lineage.base_digest)))),
        ("trained on", version.lineage.training_data),
        ("licence", version.lineage.license),
        ("source", " ".join(filter(None, (version.lineage.source, version.lineage.source_revision)))),
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
    rows = table("    check", "value", "limit", "compared", "passed")
    for check in parity.checks:
        limit = f"{'at least' if check.at_least else 'at most'} {check.limit:.3g}"
        rows.add_row(
            f"    {check.name}",
            f"{check.value:.3g}",
            limit,
            str(check.count),
            "yes" if check.passed else "NO",
        )
    return rows


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


def change(told: Change) -> None:
    """A line for each version of a checkpoint that is not as it was."""
    if told.current:
        line("-- from here on: changes")
    if told.checkpoint is None:
        return
    if told.deleted:
        line(f"{told.checkpoint.name} is deleted")
    for version in told.checkpoint.versions:
        aliases = "".join(f" {alias}" for alias in _aliases(told.checkpoint, version))
        reason = f": {version.reason}" if version.reason else ""
        line(f"{version.reference}{aliases} is {version.state}, {version.engine_state}{reason}")


def report(found: ExportReport) -> None:
    facts = Table.grid(padding=(0, 2))
    stages = sorted(found.stage_seconds, key=lambda name: _STAGES.index(name) if name in _STAGES else 99)
    for name, value in (
        ("verdict", found.reason),
        ("recipe", found.recipe),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(found.packages.items()))),
        ("stages", ", ".join(f"{name} {found.stage_seconds[name]:.1f} s" for name in stages)),
        ("network", found.network_isolation),
        ("limits", ", ".join(f"{name} {limit:,}" for name, limit in sorted(found.limits.items()))),
    ):
        if value:
            facts.add_row(name, safe(value))
    print_table(facts)
    if found.parity is not None:
        print_table(_parity_table(found.parity))


def architectures(found: Sequence[Architecture]) -> None:
    rows = table("architecture", "family", "tasks")
    for row in found:
        rows.add_row(safe(row.name), row.family, ", ".join(row.tasks))
    print_table(rows)


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
            console=err,
            disable=not err.is_terminal,
        )

    def update(self, step: Progress) -> None:
        note = safe(step.message)
        if self._bars.disable:
            if step.stage != self._stage:
                err.print(f"{step.stage}: {note}", soft_wrap=True)
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
