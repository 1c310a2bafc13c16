"""`trine list`, `show`, `report`, `watch`, `architectures`, `load`, `unload`, `delete`, `health`, and `alias`: administration."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from trine.cli import render, render_checkpoints
from trine.cli.connection import AdminTarget, Json, Target, connect
from trine.cli.options import Name
from trine.client import CheckpointInfo, VersionInfo
from trine.client.channel import DEFAULT_ADMIN_TARGET, DEFAULT_TARGET


def list_all(
    task: Annotated[str, typer.Option(help="As classification or translation.", show_default="any")] = "",
    family: Annotated[
        str, typer.Option(help="encoder, decoder or encoder-decoder.", show_default="any")
    ] = "",
    state: Annotated[
        str, typer.Option(help="ready, failed, exporting or verifying.", show_default="any")
    ] = "",
    base: Annotated[str, typer.Option(help="What they were fine-tuned from.", show_default="any")] = "",
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """List the versions of all checkpoints, or those of a kind."""
    with connect(admin_target=admin_target) as client:
        found = client.list(task=task, family=family, state=state, base_checkpoint=base)
    render.answer(found, json, render_checkpoints.checkpoints)


def show(name: Name, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Show a checkpoint: its versions, states, parity figures and sizes."""
    with connect(admin_target=admin_target) as client:
        found = client.get(name)
    render.answer(found, json, render_checkpoints.checkpoint)


def report(name: Name, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Show how the export of a version went. Exit status 1 where it has no report."""
    with connect(admin_target=admin_target) as client:
        found = client.export_report(name)
    if json:
        render.json_value(found)
    elif found is not None:
        render_checkpoints.report(found)
    if found is None:
        render.complain(f"{name} has no report of its export")
        raise typer.Exit(1)


def watch(
    name: Annotated[str, typer.Argument(help="One name.", show_default="all")] = "",
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Print checkpoints as they are, then each anew whenever it changes, until interrupted. With --json one object a line."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        connect(admin_target=admin_target) as client,
        client.watch(name) as changes,
    ):
        for told in changes:
            if json:
                render.json_line(told)
            else:
                render_checkpoints.change(told)


def architectures(json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """List the architectures that the server exports."""
    with connect(admin_target=admin_target) as client:
        found = client.architectures()
    render.answer(found, json, render_checkpoints.architectures)


def load(name: Name, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Start an engine for a version and wait until it is live."""
    with connect(admin_target=admin_target) as client:
        render.answer(client.load(name), json, _print_state)


def unload(name: Name, json: Json = False, admin_target: AdminTarget = DEFAULT_ADMIN_TARGET) -> None:
    """Let a version finish what it runs, and end its engine."""
    with connect(admin_target=admin_target) as client:
        render.answer(client.unload(name), json, _print_state)


def _print_state(version: VersionInfo) -> None:
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


def set_alias(
    name: Annotated[
        str, typer.Argument(help="NAME:VERSION, or NAME@ALIAS for what that means.", show_default=False)
    ],
    alias: Annotated[str, typer.Argument(help='As "live" or "canary".', show_default=False)],
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Point an alias at a version. What the alias is answered by is loaded first; no call fails. Setting it back is the rollback."""
    with connect(admin_target=admin_target) as client:
        render.answer(client.set_alias(name, alias), json, _print_aliases)


def delete_alias(
    name: Annotated[str, typer.Argument(help="NAME@ALIAS.", show_default=False)],
    json: Json = False,
    admin_target: AdminTarget = DEFAULT_ADMIN_TARGET,
) -> None:
    """Remove an alias; the version stays."""
    with connect(admin_target=admin_target) as client:
        render.answer(client.delete_alias(name), json, _print_aliases)


def _print_aliases(found: CheckpointInfo) -> None:
    for alias, number in sorted(found.aliases.items()):
        render.line(f"{found.name}@{alias} is {found.name}:{number}")


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
