"""The list of commands. Entry point of `trine`."""

from __future__ import annotations

from typing import Annotated

import typer

from trine import __version__
from trine.cli import checkpoints, exporting, inference, reading, registering
from trine.cli.serve import serve

app = typer.Typer(
    name="trine",
    help="Serve transformer checkpoints over gRPC: register, prove, classify, embed, generate, translate, summarize.",
    no_args_is_help=True,
    # A traceback with local variables could show a prompt.
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"trine {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve transformer checkpoints over gRPC: register, prove, classify, embed, generate, translate, summarize."""


aliases = typer.Typer(help="Move and remove the names of versions.", no_args_is_help=True)
aliases.command("set")(checkpoints.set_alias)
aliases.command("delete")(checkpoints.delete_alias)

app.command()(serve)
app.command()(registering.register)
app.command()(exporting.export)
app.command("import")(registering.import_artifact)
app.command("list")(checkpoints.list_all)
app.command()(checkpoints.show)
app.command()(checkpoints.report)
app.command()(checkpoints.watch)
app.command()(checkpoints.architectures)
app.add_typer(aliases, name="alias")
app.command()(checkpoints.load)
app.command()(checkpoints.unload)
app.command()(checkpoints.delete)
app.command()(reading.classify)
app.command()(reading.classify_tokens)
app.command()(reading.embed)
app.command()(inference.generate)
app.command()(inference.chat)
app.command()(inference.translate)
app.command()(inference.summarize)
app.command()(checkpoints.health)
