"""`trine register` and `import`: how a version comes into the repository."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from trine.cli import render, render_checkpoints
from trine.cli.connection import AdminTarget, Json, connect
from trine.cli.options import Hold
from trine.client import Progress, VersionInfo
from trine.client.channel import DEFAULT_ADMIN_TARGET
from trine.client.checkpoint_requests import HUB


def register(
    name: Annotated[str, typer.Argument(help="Name to register under.", show_default=False)],
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_HUB",
            help="Checkpoint folder, on the server's machine; or hub:OWNER/NAME, a repository of the hub.",
            show_default=False,
        ),
    ],
    revision: Annotated[
        str, typer.Option(help="Of a hub's repository: branch, tag or commit.", show_default="main")
    ] = "",
    task: Annotated[
        str,
        typer.Option(
            help="As classification, embedding or translation: see `trine architectures`.",
            show_default="from the config",
        ),
    ] = "",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32, int8, or auto: int8 where the gate passes, else fp32. On CUDA fp16 (auto) or bf16."
        ),
    ] = "auto",
    gate: Annotated[
        str, typer.Option(help="enforce, or report: publish whatever the gate says, marked as overridden.")
    ] = "enforce",
    hold: Hold = False,
    base: Annotated[
        str, typer.Option(help="What it was fine-tuned from.", show_default="as the checkpoint says")
    ] = "",
    training_data: Annotated[
        str, typer.Option(help="What it was trained on.", show_default="as the checkpoint says")
    ] = "",
    license: Annotated[
        str, typer.Option(help="Licence of the weights.", show_default="as the checkpoint says")
    ] = "",
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Export a checkpoint, prove the export, and publish it as a new version."""
    last: Progress | None = None
    with (
        connect(admin_target=admin_target) as client,
        client.register(
            name,
            _source(source),
            revision=revision,
            task=task,
            precision=precision,
            gate=gate,
            hold=hold,
            base_checkpoint=base,
            training_data=training_data,
            license=license,
        ) as steps,
        render_checkpoints.RegistrationProgress() as shown,
    ):
        for last in steps:
            shown.update(last)
    if last is None or last.version is None:
        render.complain("the server ended the registration without a version")
        raise typer.Exit(1)
    _print_registered(last.version, last.existing, json)


def _source(given: str) -> str:
    """A folder called "hub:x" is ./hub:x."""
    return given if given.startswith(HUB) else os.path.abspath(given)


def import_artifact(
    name: Annotated[str, typer.Argument(help="Name to publish it under.", show_default=False)],
    path: Annotated[
        str,
        typer.Argument(help="Folder that `trine export` made, on the server's machine.", show_default=False),
    ],
    hold: Hold = False,
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Publish an exported artifact as a new version; needs no PyTorch."""
    with connect(admin_target=admin_target) as client:
        version, existing = client.import_artifact(name, os.path.abspath(path), hold=hold)
    _print_registered(version, existing, json)


def _print_registered(version: VersionInfo, existing: bool, json: bool) -> None:
    if json:
        render.json_value(version)
    elif version.state != "failed":
        render.line(
            f"{version.reference} {'was registered before' if existing else 'is registered'}: {version.engine_state}"
        )
    if version.state == "failed":
        render.complain(f"{version.reference} failed: {version.reason}")
        raise typer.Exit(1)
