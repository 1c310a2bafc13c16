"""`trine generate`, `chat`, `translate`, `summarize`: texts in, answers out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Unpack

import typer

from trine.cli import render
from trine.cli.connection import Json, Target, connect
from trine.cli.options import Name, with_generation_options
from trine.client import Delta, Generation, Stream, Summary, Translation
from trine.client.channel import DEFAULT_TARGET
from trine.client.options import GenerationOptions, Split

Texts = Annotated[
    list[str],
    typer.Argument(metavar="TEXT", help='Texts; "-" reads one a line from stdin.', show_default=False),
]
Split_ = Annotated[Split, typer.Option(help="Translate each sentence on its own, or each text as one.")]
SourceLanguage = Annotated[
    str, typer.Option(help="Of the texts, as the checkpoint names it.", show_default="the checkpoint's own")
]
TargetLanguage = Annotated[
    str, typer.Option(help="To translate to, likewise.", show_default="the checkpoint's own")
]
Stream_ = Annotated[bool, typer.Option("--stream", help="Print the text as it comes.")]


@with_generation_options
def generate(
    name: Name,
    texts: Texts,
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
    **options: Unpack[GenerationOptions],
) -> None:
    """Continue prompts with a generation checkpoint."""
    _validate_json(options, json)
    inputs = read(texts)
    with connect(target) as client:
        if stream:
            _print_stream(client.stream_generate(name, inputs, **options), json)
        else:
            _print_texts(client.generate(name, inputs, **options), json)


@with_generation_options
def chat(
    name: Name,
    text: Annotated[str, typer.Argument(help="What the user says.", show_default=False)],
    system: Annotated[str, typer.Option(help="What the system says before.", show_default="nothing")] = "",
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
    **options: Unpack[GenerationOptions],
) -> None:
    """Get the answer of a generation checkpoint that has a chat template."""
    _validate_json(options, json)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    with connect(target) as client:
        if stream:
            _print_stream(client.stream_chat(name, messages, **options), json)
        else:
            _print_texts([client.chat(name, messages, **options)], json)


@with_generation_options
def translate(
    name: Name,
    texts: Texts,
    split: Split_ = "sentences",
    source_language: SourceLanguage = "",
    target_language: TargetLanguage = "",
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
    **options: Unpack[GenerationOptions],
) -> None:
    """Translate texts with a translation checkpoint."""
    _validate_json(options, json)
    inputs = read(texts)
    with connect(target) as client:
        call = client.stream_translate if stream else client.translate
        answer = call(
            name,
            inputs,
            split=split,
            source_language=source_language,
            target_language=target_language,
            **options,
        )
        if isinstance(answer, Stream):
            _print_stream(answer, json)
        else:
            _print_texts(answer, json)


@with_generation_options
def summarize(
    name: Name,
    texts: Texts,
    stream: Stream_ = False,
    json: Json = False,
    target: Target = DEFAULT_TARGET,
    **options: Unpack[GenerationOptions],
) -> None:
    """Summarize texts with a summarization checkpoint."""
    _validate_json(options, json)
    inputs = read(texts)
    with connect(target) as client:
        if stream:
            _print_stream(client.stream_summarize(name, inputs, **options), json)
        else:
            _print_texts(client.summarize(name, inputs, **options), json)


def _validate_json(options: GenerationOptions, json: bool) -> None:
    """Some answers have no place in plain text."""
    for option in ("logprobs", "n_best"):
        if options.get(option) is not None and not json:
            raise typer.BadParameter("is told with --json only", param_hint=f"--{option.replace('_', '-')}")


def read(texts: list[str]) -> list[str]:
    """The texts, with the lines of stdin in the place of "-"; empty lines are left out."""
    inputs: list[str] = []
    for text in texts:
        lines = (line.rstrip("\r\n") for line in sys.stdin) if text == "-" else [text]
        inputs += [line for line in lines if line or text != "-"]
    return inputs


def _print_texts(results: Sequence[Generation | Translation | Summary], json: bool) -> None:
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
