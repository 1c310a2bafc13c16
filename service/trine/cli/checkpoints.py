"""`trine register`, `list`, `show`, `load`, `unload`, `delete`, `health`: administration."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from trine.cli import render
from trine.cli.connection import AdminTarget, Json, Target, connect
from trine.client import Progress, VersionInfo
from trine.client.channel import DEFAULT_ADMIN_TARGET, DEFAULT_TARGET

Reference = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME:VERSION.", show_default=False)]


def register(
    name: Annotated[str, typer.Argument(help="Name to register under.", show_default=False)],
    path: Annotated[
        str, typer.Argument(help="Checkpoint folder, on the server's machine.", show_default=False)
    ],
    task: Annotated[
        str,
        typer.Option(
            help="classification, generation, translation or summarization.", show_default="from the config"
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
    hold: Annotated[
        bool, typer.Option("--hold", help="Leave the name on the version that it means now.")
    ] = False,
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Export a checkpoint folder, prove the export, and publish it as a new version."""
    last: Progress | None = None
    with (
        connect(admin_target=admin_target) as client,
        client.register(
            name, os.path.abspath(path), task=task, precision=precision, gate=gate, hold=hold
        ) as steps,
        render.RegistrationProgress() as shown,
    ):
        for last in steps:
            shown.update(last)
    if last is None or last.version is None:
        render.complain("the server ended the registration without a version")
        raise typer.Exit(1)
    _print_registered(last.version, last.existing, json)


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


def list_all(json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """List all versions of all checkpoints."""
    with connect(admin_target=admin_target) as client:
        found = client.list()
    if json:
        render.json_value(found)
    else:
        render.checkpoints(found)


def show(name: Reference, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Show a checkpoint: its versions, states, parity figures and sizes."""
    with connect(admin_target=admin_target) as client:
        found = client.get(name)
    if json:
        render.json_value(found)
    else:
        render.checkpoint(found)


def load(name: Reference, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Start an engine for a version and wait until it is live."""
    with connect(admin_target=admin_target) as client:
        _print_state(client.load(name), json)


def unload(name: Reference, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Let a version finish what it runs, and end its engine."""
    with connect(admin_target=admin_target) as client:
        _print_state(client.unload(name), json)


def _print_state(version: VersionInfo, json: bool) -> None:
    if json:
        render.json_value(version)
    else:
        render.line(f"{version.reference} is {version.engine_state}")


def delete(
    name: Annotated[str, typer.Argument(help="NAME:VERSION, or NAME for all of it.", show_default=False)],
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Remove an unloaded version, or a whole checkpoint, from the repository."""
    with connect(admin_target=admin_target) as client:
        client.delete(name)
    if json:
        render.json_value({"deleted": name})
    else:
        render.line(f"{name} is deleted")


def health(
    name: Annotated[str, typer.Argument(help="A checkpoint's name.", show_default="the whole server")] = "",
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Ask whether the server, or one checkpoint, is serving. Exit status 1 where it is not."""
    with connect(target) as client:
        status = client.health(name)
    if json:
        render.json_value({"name": name, "status": status})
    else:
        render.line(status)
    if status != "serving":
        raise typer.Exit(1)
