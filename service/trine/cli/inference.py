"""`trine classify`, `generate`, `translate`: texts in, answers out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from trine.cli import render
from trine.cli.connection import Json, Target, connect
from trine.client import Delta, Generation, Stream, Translation
from trine.client.channel import DEFAULT_TARGET
from trine.client.options import GenerationOptions, Split

Name = Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME:VERSION.", show_default=False)]
Texts = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help='Texts; "-" reads one a line from stdin.', show_default=False),
]
MaxNewTokens = Annotated[
    int | None, typer.Option(help="Most tokens to write.", show_default="what fits, at most 256")
]
MinNewTokens = Annotated[int | None, typer.Option(help="Fewest tokens to write.", show_default="0")]
Temperature = Annotated[float | None, typer.Option(help="Randomness, 0 to 10.", show_default="0: greedy")]
TopP = Annotated[float | None, typer.Option(help="Share of probability to keep.", show_default="1: all")]
TopK = Annotated[int | None, typer.Option(help="Best tokens to keep.", show_default="0: all")]
MinP = Annotated[
    float | None, typer.Option(help="Keep tokens with this share of the best one's.", show_default="0: all")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the random numbers.", show_default="the server's choice")
]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="For tokens read or written before, 0.1 to 10.", show_default="1: none")
]
PresencePenalty = Annotated[
    float | None, typer.Option(help="For tokens written before, -2 to 2.", show_default="0: none")
]
FrequencyPenalty = Annotated[
    float | None, typer.Option(help="For each time written before, -2 to 2.", show_default="0: none")
]
NoRepeatNgramSize = Annotated[
    int | None, typer.Option(help="So many tokens in a row come only once.", show_default="0: any")
]
Stop = Annotated[
    list[str] | None,
    typer.Option(help="A text that ends the answer before it; may be given 16 times.", show_default=False),
]
Logprobs = Annotated[
    int | None,
    typer.Option(
        help="Tell each token's log-probability and so many alternatives; with --json.", show_default="none"
    ),
]
Split_ = Annotated[Split, typer.Option(help="Translate each sentence on its own, or each text as one.")]
Stream_ = Annotated[bool, typer.Option("--stream", help="Print the text as it comes.")]


def classify(
    name: Name,
    texts: Texts,
    top_k: Annotated[int, typer.Option(help="Labels for each text.", show_default="0: all")] = 0,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Score texts against the labels of a classification checkpoint."""
    inputs = _read(texts)
    with connect(target) as client:
        results = client.classify(name, inputs, top_k=top_k)
    if json:
        render.json_value(results)
    else:
        render.classifications(inputs, results)


def generate(
    name: Name,
    texts: Texts,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    seed: Seed = None,
    repetition_penalty: RepetitionPenalty = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    no_repeat_ngram_size: NoRepeatNgramSize = None,
    stop: Stop = None,
    logprobs: Logprobs = None,
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Continue prompts with a generation checkpoint."""
    options = GenerationOptions(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        seed=seed,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        stop=stop,
        logprobs=_only_with_json(logprobs, json),
    )
    inputs = _read(texts)
    with connect(target) as client:
        if stream:
            _print_stream(client.stream_generate(name, inputs, **options), json)
            return
        results = client.generate(name, inputs, **options)
    _print_texts(results, json)


def translate(
    name: Name,
    texts: Texts,
    split: Split_ = "sentences",
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    seed: Seed = None,
    repetition_penalty: RepetitionPenalty = None,
    presence_penalty: PresencePenalty = None,
    frequency_penalty: FrequencyPenalty = None,
    no_repeat_ngram_size: NoRepeatNgramSize = None,
    stop: Stop = None,
    logprobs: Logprobs = None,
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Translate texts with a translation checkpoint."""
    options = GenerationOptions(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        seed=seed,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        stop=stop,
        logprobs=_only_with_json(logprobs, json),
    )
    inputs = _read(texts)
    with connect(target) as client:
        if stream:
            _print_stream(client.stream_translate(name, inputs, split=split, **options), json)
            return
        results = client.translate(name, inputs, split=split, **options)
    _print_texts(results, json)


def _only_with_json(logprobs: int | None, json: bool) -> int | None:
    if logprobs is not None and not json:
        raise typer.BadParameter("the log-probabilities are told with --json only", param_hint="--logprobs")
    return logprobs


def _read(texts: list[str]) -> list[str]:
    """The texts, with the lines of stdin in the place of "-"; empty lines are left out."""
    inputs: list[str] = []
    for text in texts:
        lines = (line.rstrip("\r\n") for line in sys.stdin) if text == "-" else [text]
        inputs += [line for line in lines if line or text != "-"]
    return inputs


def _print_texts(results: Sequence[Generation | Translation], json: bool) -> None:
    if json:
        render.json_value(results)
    else:
        render.texts(result.text for result in results)


def _print_stream(stream: Stream[Delta], json: bool) -> None:
    """Deltas as they come, one JSON object a line; or text, where an input waits until those before it are finished."""
    with stream:
        if json:
            for delta in stream:
                render.json_line(delta)
        else:
            _print_in_order(stream)


def _print_in_order(stream: Stream[Delta]) -> None:
    current = 0
    waiting: dict[int, str] = {}
    finished: set[int] = set()
    for delta in stream:
        waiting[delta.input_index] = waiting.get(delta.input_index, "") + delta.text
        if delta.finish_reason is not None:
            finished.add(delta.input_index)
        render.text_part(waiting.pop(current, ""))
        while current in finished:
            render.text_part("\n")
            current += 1
            render.text_part(waiting.pop(current, ""))
