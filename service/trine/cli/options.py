"""Arguments and options that several commands have, named once. Used while the commands are defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from trine.client.options import EarlyStopping

Name = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME:VERSION.", show_default=False)]
Hold = Annotated[bool, typer.Option("--hold", help="Leave the name on the version that it means now.")]

GENERATION_OPTIONS: dict[str, Any] = {
    "max_new_tokens": Annotated[
        int | None, typer.Option(help="Most tokens to write.", show_default="what fits, at most 256")
    ],
    "min_new_tokens": Annotated[int | None, typer.Option(help="Fewest tokens to write.", show_default="0")],
    "temperature": Annotated[
        float | None, typer.Option(help="Randomness, 0 to 10.", show_default="0: greedy")
    ],
    "top_p": Annotated[
        float | None, typer.Option(help="Share of probability to keep.", show_default="1: all")
    ],
    "top_k": Annotated[int | None, typer.Option(help="Best tokens to keep.", show_default="0: all")],
    "min_p": Annotated[
        float | None,
        typer.Option(help="Keep tokens with this share of the best one's.", show_default="0: all"),
    ],
    "seed": Annotated[
        int | None, typer.Option(help="Seed of the random numbers.", show_default="the server's choice")
    ],
    "repetition_penalty": Annotated[
        float | None,
        typer.Option(help="For tokens read or written before, 0.1 to 10.", show_default="1: none"),
    ],
    "presence_penalty": Annotated[
        float | None, typer.Option(help="For tokens written before, -2 to 2.", show_default="0: none")
    ],
    "frequency_penalty": Annotated[
        float | None, typer.Option(help="For each time written before, -2 to 2.", show_default="0: none")
    ],
    "no_repeat_ngram_size": Annotated[
        int | None, typer.Option(help="So many tokens in a row come only once.", show_default="0: any")
    ],
    "stop": Annotated[
        list[str] | None,
        typer.Option(
            help="A text that ends the answer before it; may be given 16 times.", show_default=False
        ),
    ],
    "logprobs": Annotated[
        int | None,
        typer.Option(
            help="Tell each token's log-probability and so many alternatives; with --json.",
            show_default="none",
        ),
    ],
    "beams": Annotated[
        int | None,
        typer.Option(help="Follow so many texts, tell the best; 2 to 16.", show_default="1: no search"),
    ],
    "length_penalty": Annotated[
        float | None,
        typer.Option(help="With beams: above 0 favors long texts, -10 to 10.", show_default="1"),
    ],
    "early_stopping": Annotated[
        EarlyStopping | None,
        typer.Option(
            help="With beams: when a better text is unlikely, at once, or impossible.",
            show_default="heuristic",
        ),
    ],
    "n_best": Annotated[
        int | None, typer.Option(help="With beams: so many best texts; with --json.", show_default="1")
    ],
}
"""Keyword of client.options.GenerationOptions to its type; all are None by default, which leaves them to the server."""


def with_generation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the keywords that `command` gathers in `**options` as options of their own."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in GENERATION_OPTIONS.items()
    ]
    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    command.__signature__ = signature.replace(parameters=[*keywords, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in [*keywords, *shared]}
    return command
