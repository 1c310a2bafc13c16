"""`trine classify`, `classify-tokens`, `embed`: texts in; labels, entities or vectors out."""

from __future__ import annotations

from typing import Annotated

import typer

from trine.cli import render
from trine.cli.connection import Json, Target, connect
from trine.cli.inference import Texts, read
from trine.cli.options import Name
from trine.client.channel import DEFAULT_TARGET
from trine.client.reading_requests import Aggregation

Windows = Annotated[
    bool, typer.Option("--windows", help="Read texts that are longer than the context in windows.")
]
Overlap = Annotated[
    int | None,
    typer.Option(help="Tokens that two windows share.", show_default="a quarter of a window"),
]


def classify(
    name: Name,
    texts: Texts,
    top_k: Annotated[int, typer.Option(help="Labels for each text.", show_default="0: all")] = 0,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            help="Second text, once for each text, of a checkpoint that reads pairs.", show_default=False
        ),
    ] = None,
    raw_scores: Annotated[
        bool, typer.Option("--raw-scores", help="Tell logits instead of probabilities.")
    ] = False,
    windows: Windows = False,
    overlap: Overlap = None,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Score texts against the labels of a classification checkpoint."""
    inputs = read(texts)
    with connect(target) as client:
        results = client.classify(
            name,
            inputs,
            text_pairs=pair,
            top_k=top_k,
            raw_scores=raw_scores,
            windows=windows,
            overlap=overlap,
        )
    if json:
        render.json_value(results)
    else:
        render.classifications(inputs, results)


def classify_tokens(
    name: Name,
    texts: Texts,
    aggregation: Annotated[Aggregation, typer.Option(help="How tokens become entities.")] = "simple",
    windows: Windows = False,
    overlap: Overlap = None,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Find the entities of texts, as names and places, with a token classification checkpoint."""
    inputs = read(texts)
    with connect(target) as client:
        results = client.classify_tokens(
            name, inputs, aggregation=aggregation, windows=windows, overlap=overlap
        )
    if json:
        render.json_value(results)
    else:
        render.token_classifications(inputs, results)


def embed(
    name: Name,
    texts: Texts,
    normalize: Annotated[
        bool | None,
        typer.Option(help="To length 1 or not.", show_default="as the checkpoint was made"),
    ] = None,
    dimensions: Annotated[int, typer.Option(help="First values to tell.", show_default="0: all")] = 0,
    windows: Windows = False,
    overlap: Overlap = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Turn texts into vectors with an embedding checkpoint: one JSON array of numbers a line."""
    inputs = read(texts)
    with connect(target) as client:
        results = client.embed(
            name, inputs, normalize=normalize, dimensions=dimensions, windows=windows, overlap=overlap
        )
    for result in results:
        render.json_line(result.values)
