"""`trine serve`: the server in this process. Options lie over the TRINE_* environment variables of trine.config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trine.cli import extras, render
from trine.errors import NotPossible, TrineError

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free port.", show_default=False)]
Address = Annotated[str | None, typer.Option(show_default=False)]


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="TRINE_CONFIG",
            help="File that declares settings and checkpoints, as examples/trine.toml.",
            show_default=False,
        ),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(help="Folder that is the registry. Default: var/repository.", show_default=False),
    ] = None,
    import_root: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoints are registered only from below here. Default: the current folder.",
            show_default=False,
        ),
    ] = None,
    host: Address = None,
    grpc_port: Port = None,
    http_port: Port = None,
    admin_host: Address = None,
    admin_port: Port = None,
    ports_file: Annotated[
        Path | None, typer.Option(help="Where to write the ports in use, as JSON.", show_default=False)
    ] = None,
    load: Annotated[
        str | None, typer.Option(help="What to load at start: live, lazy or none.", show_default=False)
    ] = None,
) -> None:
    """Run a server: gRPC on 8001, HTTP (/metrics, /livez, /readyz) on 8002, administration on 8003."""
    given = {name: value for name, value in locals().items() if value is not None and name != "config"}
    try:
        with extras.importing("serve", "serving"):
            from trine import app
            from trine.config import Settings
            from trine.front.serving import declaration
    except NotPossible as error:
        render.complain(error.message)
        raise typer.Exit(1) from None
    try:
        settings = declaration.read_file(config).settings(given) if config else Settings(**given)
    except TrineError as error:
        render.complain(f"{config}: {error.message}")
        raise typer.Exit(2) from None
    except ValueError as error:  # pydantic's own, which the base installation lacks
        render.complain(_settings_at_fault(error))
        raise typer.Exit(2) from None
    raise typer.Exit(app.main(settings, config))


def _settings_at_fault(error: ValueError) -> str:
    """Each setting with what is wrong with it, in one line."""
    found: list[dict[str, Any]] = getattr(error, "errors", list)()
    faults = (f"TRINE_{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in found)
    return "; ".join(faults) or str(error)
