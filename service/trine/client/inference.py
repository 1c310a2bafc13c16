"""What the inference calls send and answer: requests built, responses turned into frozen values. Pure functions, any thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, TypeVar, overload

from trine.errors import Bug, InvalidInput
from trine.v1 import inference_pb2 as pb

Texts = list[str] | tuple[str, ...]
"""A batch: the answers come as a list in the same order."""

Priority = Literal["low", "normal", "high"]

_PRIORITIES: dict[str, pb.Priority.ValueType] = {
    "low": pb.PRIORITY_LOW,
    "normal": pb.PRIORITY_NORMAL,
    "high": pb.PRIORITY_HIGH,
}
_FINISH_REASONS = {pb.FINISH_REASON_STOP: "stop", pb.FINISH_REASON_LENGTH: "length"}
_UNSIGNED_BITS = {"max_new_tokens": 32, "top_k": 32, "seed": 64}
_Answer = TypeVar("_Answer")


class GenerationOptions(TypedDict, total=False):
    """Keywords of generate, translate and their streams; what is left out, the server decides."""

    max_new_tokens: int | None
    """At least 1. Default: what fits, at most 256."""
    temperature: float | None
    """0 to 10. Default 0: greedy."""
    top_p: float | None
    """Above 0, at most 1. Default 1: all tokens."""
    top_k: int | None
    """Default 0: all tokens."""
    seed: int | None
    """The same seed gives the same text. Default: the server's own choice."""
    priority: Priority
    """Place in the queue. Default "normal"."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one input, counted by the checkpoint's own tokenizer."""

    input_tokens: int
    output_tokens: int
    cut_tokens: int


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    score: float
    """Probability, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Classification:
    labels: tuple[Label, ...]
    """Best first."""
    usage: Usage
    checkpoint: str
    """The version that answered, NAME:VERSION."""


@dataclass(frozen=True, slots=True)
class Generation:
    text: str
    """The new text, without the prompt."""
    finish_reason: str
    """ "stop": the checkpoint ended the text; "length": the limit did."""
    usage: Usage
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Translation:
    text: str
    finish_reason: str
    usage: Usage
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Delta:
    """New text of one input of a stream."""

    text: str
    input_index: int
    finish_reason: str | None
    """None until the input's last delta."""
    usage: Usage | None
    """None until the input's last delta."""
    checkpoint: str


def classify_request(checkpoint: str, texts: str | Texts, top_k: int, priority: str) -> pb.ClassifyRequest:
    """Raises InvalidInput where the wire could not carry a value; all else the server judges."""
    return pb.ClassifyRequest(
        checkpoint=checkpoint,
        inputs=[pb.ClassifyInput(text=text) for text in _sendable(texts)],
        priority=_priority(priority),
        top_k=_unsigned("top_k", top_k, "top_k"),
    )


def generate_request(checkpoint: str, texts: str | Texts, options: GenerationOptions) -> pb.GenerateRequest:
    """Raises InvalidInput, and TypeError for an option that does not exist."""
    inputs = [pb.GenerateInput(text=text) for text in _sendable(texts)]
    return _with_options(pb.GenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def stream_generate_request(
    checkpoint: str, texts: str | Texts, options: GenerationOptions
) -> pb.StreamGenerateRequest:
    """Raises as generate_request does."""
    inputs = [pb.GenerateInput(text=text) for text in _sendable(texts)]
    return _with_options(pb.StreamGenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def translate_request(checkpoint: str, texts: str | Texts, options: GenerationOptions) -> pb.TranslateRequest:
    """Raises as generate_request does."""
    inputs = [pb.TranslateInput(text=text) for text in _sendable(texts)]
    return _with_options(pb.TranslateRequest(checkpoint=checkpoint, inputs=inputs), options)


def stream_translate_request(
    checkpoint: str, texts: str | Texts, options: GenerationOptions
) -> pb.StreamTranslateRequest:
    """Raises as generate_request does."""
    inputs = [pb.TranslateInput(text=text) for text in _sendable(texts)]
    return _with_options(pb.StreamTranslateRequest(checkpoint=checkpoint, inputs=inputs), options)


def classifications(response: pb.ClassifyResponse) -> list[Classification]:
    return [
        Classification(
            tuple(Label(label.name, label.score) for label in result.labels),
            _usage(result.usage),
            response.checkpoint,
        )
        for result in response.results
    ]


def generations(response: pb.GenerateResponse) -> list[Generation]:
    return [
        Generation(result.text, _finish(result.finish_reason), _usage(result.usage), response.checkpoint)
        for result in response.results
    ]


def translations(response: pb.TranslateResponse) -> list[Translation]:
    return [
        Translation(result.text, _finish(result.finish_reason), _usage(result.usage), response.checkpoint)
        for result in response.results
    ]


def delta(response: pb.StreamGenerateResponse | pb.StreamTranslateResponse) -> Delta:
    last = response.finish_reason != pb.FINISH_REASON_UNSPECIFIED
    return Delta(
        response.text,
        response.input_index,
        _finish(response.finish_reason) if last else None,
        _usage(response.usage) if last else None,
        response.checkpoint,
    )


@overload
def shaped(texts: str, answers: list[_Answer]) -> _Answer: ...
@overload
def shaped(texts: Texts, answers: list[_Answer]) -> list[_Answer]: ...
def shaped(texts: str | Texts, answers: list[_Answer]) -> _Answer | list[_Answer]:
    """One answer for one text, a list for a list. Raises Bug when the server answered another number of inputs."""
    asked = 1 if isinstance(texts, str) else len(texts)
    if len(answers) != asked:
        raise Bug(f"the server sent {len(answers)} answers to {asked} inputs")
    return answers[0] if isinstance(texts, str) else answers


_GenerationRequest = TypeVar(
    "_GenerationRequest",
    pb.GenerateRequest,
    pb.StreamGenerateRequest,
    pb.TranslateRequest,
    pb.StreamTranslateRequest,
)


def _with_options(request: _GenerationRequest, options: GenerationOptions) -> _GenerationRequest:
    """Set what was given; what is None stays unset, which is not the same as 0."""
    unknown = options.keys() - GenerationOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword: {', '.join(sorted(unknown))}")
    request.priority = _priority(options.get("priority", "normal"))
    if (most := options.get("max_new_tokens")) is not None:
        request.max_new_tokens = _unsigned("max_new_tokens", most, "max_new_tokens")
    values: Mapping[str, object] = options
    for name in ("temperature", "top_p", "top_k", "seed"):
        value = values.get(name)
        if isinstance(value, int) and name in _UNSIGNED_BITS:
            value = _unsigned(name, value, f"sampling.{name}")
        if value is not None:
            setattr(request.sampling, name, value)
    return request


def _sendable(texts: str | Texts) -> Iterable[str]:
    """The inputs. Raises InvalidInput for one that UTF-8 cannot carry (a lone surrogate), naming its place."""
    inputs: Sequence[str] = [texts] if isinstance(texts, str) else texts
    for index, text in enumerate(inputs):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInput("the text is not valid Unicode", field=f"inputs[{index}].text") from None
    return inputs


def _priority(priority: str) -> pb.Priority.ValueType:
    if priority not in _PRIORITIES:
        raise InvalidInput("priority must be low, normal or high", field="priority")
    return _PRIORITIES[priority]


def _unsigned(name: str, value: int, field: str) -> int:
    bits = _UNSIGNED_BITS[name]
    if not 0 <= value < 1 << bits:
        raise InvalidInput(f"{name} must be at least 0 and below 2^{bits}", field=field)
    return value


def _finish(reason: pb.FinishReason.ValueType) -> str:
    return _FINISH_REASONS.get(reason, "unknown")


def _usage(usage: pb.Usage) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens, usage.cut_tokens)
