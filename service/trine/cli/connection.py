"""Which server a command talks to, and what becomes of an error: one line on stderr and exit status 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from trine.cli import render
from trine.client import Client
from trine.client.channel import DEFAULT_ADMIN_TARGET, DEFAULT_TARGET
from trine.errors import TrineError

Target = Annotated[str, typer.Option("--target", envvar="TRINE_TARGET", help="Inference port.")]
AdminTarget = Annotated[
    str, typer.Option("--admin-target", envvar="TRINE_ADMIN_TARGET", help="Administration port.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contextlib.contextmanager
def connect(target: str = DEFAULT_TARGET, admin_target: str = DEFAULT_ADMIN_TARGET) -> Iterator[Client]:
    """A client for one command."""
    try:
        with Client(target, admin_target) as client:
            yield client
    except TrineError as error:
        render.failure(error)
        raise typer.Exit(1) from None
