"""`trine export`: a checkpoint becomes an artifact on a machine without a server, for `trine import` elsewhere. The export is a child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from trine import artifact
from trine.artifact import Artifact, Precision, Task
from trine.cli import extras, render, render_checkpoints
from trine.cli.connection import Json
from trine.client import Progress
from trine.errors import ExportFailed, InvalidInput, NotPossible, TrineError
from trine.export.plan import ExportPlan, Gate


def export(
    path: Annotated[
        Path, typer.Argument(help="Checkpoint folder, in the Hugging Face layout.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Argument(help="The artifact's folder, which is not there yet.", show_default=False)
    ],
    task: Annotated[
        Task | None, typer.Option(help="What it is to do.", show_default="from the config")
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="fp32, int8, or auto: int8 where the gate passes, else fp32. For CUDA fp16 or bf16."
        ),
    ] = "auto",
    gate: Annotated[
        Gate, typer.Option(help="enforce, or report: keep the artifact whatever the gate says.")
    ] = Gate.ENFORCE,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds.")] = 1800.0,
    json: Json = False,
) -> None:
    """Export a checkpoint and prove the export, without a server. Exit status 1 where the gate fails; nothing is left then."""
    try:
        with _staging(out) as staging:
            plan = ExportPlan(path.resolve(), staging, task, _precision(precision), gate, timeout=timeout)
            reason = _run(plan)
            opened = artifact.open_artifact(staging)
            parity = opened.manifest.parity
            if not (parity.passed or parity.overridden):
                render.complain(f"the parity gate failed: {reason}")
                raise typer.Exit(1)
            artifact.publish(staging, out.absolute())
    except TrineError as error:
        render.failure(error)
        raise typer.Exit(1) from None
    _print_artifact(out, opened, reason, json)


def _precision(given: str) -> Precision | None:
    if given == "auto":
        return None
    if given not in set(Precision):
        raise typer.BadParameter(f"{given} is none of auto, {', '.join(Precision)}", param_hint="--precision")
    return Precision(given)


@contextlib.contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, so that what bears its name is whole. Raises InvalidInput and NotPossible."""
    if os.path.lexists(out):
        raise InvalidInput("it is there already, and an artifact gets a folder of its own", field="out")
    try:
        staging = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}-"))
    except OSError as error:
        raise NotPossible(f"no folder can be made there: {error.strerror}", field="out") from error
    try:
        staging.chmod(0o755)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(plan: ExportPlan) -> str:
    """The gate's verdict in one line. Raises what the export raises."""
    with extras.importing("export", "exporting"):
        from trine.export import launcher

    async def follow(shown: render_checkpoints.RegistrationProgress) -> str:
        async with contextlib.aclosing(launcher.run(plan)) as steps:
            async for step in steps:
                shown.update(Progress(step.stage, step.fraction, step.message, None, False))
                if step.verdict is not None:
                    return step.verdict.reason
        raise ExportFailed("the export ended without a verdict")

    with render_checkpoints.RegistrationProgress() as shown:
        return asyncio.run(follow(shown))


def _print_artifact(out: Path, opened: Artifact, reason: str, json: bool) -> None:
    manifest = opened.manifest
    if json:
        render.json_value(
            {
                "path": str(out),
                "architecture": manifest.architecture,
                "task": manifest.task,
                "precision": manifest.precision,
                "overridden": manifest.parity.overridden,
                "verdict": reason,
                "size_bytes": opened.size_bytes,
            }
        )
        return
    although = " although its gate failed" if manifest.parity.overridden else ""
    render.line(f"{out} is exported in {manifest.precision}{although}: {reason}")
