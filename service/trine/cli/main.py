"""The list of commands. Entry point of `trine`."""

from __future__ import annotations

from typing import Annotated

import typer

from trine import __version__
from trine.cli import checkpoints, inference, reading
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


app.command()(serve)
app.command()(checkpoints.register)
app.command("list")(checkpoints.list_all)
app.command()(checkpoints.show)
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
