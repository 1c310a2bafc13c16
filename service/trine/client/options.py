"""The keywords of generate, chat, translate, summarize and their streams, and how they are set in a request.

Pure functions, any thread.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar

from trine.errors import InvalidInput
from trine.v1 import inference_pb2 as pb

Priority = Literal["low", "normal", "high"]
Split = Literal["sentences", "none"]
"""Translate each sentence on its own, or refuse what does not fit the context."""

_PRIORITIES: dict[str, pb.Priority.ValueType] = {
    "low": pb.PRIORITY_LOW,
    "normal": pb.PRIORITY_NORMAL,
    "high": pb.PRIORITY_HIGH,
}
EarlyStopping = Literal["heuristic", "first", "never"]
"""When a beam search ends, once so many texts are finished as it has beams."""

_EARLY_STOPPING: dict[str, pb.EarlyStopping.ValueType] = {
    "heuristic": pb.EARLY_STOPPING_HEURISTIC,
    "first": pb.EARLY_STOPPING_FIRST,
    "never": pb.EARLY_STOPPING_NEVER,
}
_SPLITS: dict[str, pb.Split.ValueType] = {"sentences": pb.SPLIT_SENTENCES, "none": pb.SPLIT_NONE}


class GenerationOptions(TypedDict, total=False):
    """Keywords of generate, chat, translate, summarize and their streams; what is left out, the server decides."""

    max_new_tokens: int | None
    """At least 1; of a translation, for each segment. Default: what fits, at most 256."""
    min_new_tokens: int | None
    """Until then nothing but the limit ends the text. Default 0."""
    temperature: float | None
    """0 to 10. Default 0: greedy."""
    top_p: float | None
    """Above 0, at most 1. Default 1: all tokens."""
    top_k: int | None
    """Default 0: all tokens."""
    min_p: float | None
    """Keep tokens at least this share as probable as the best one, 0 to 1. Default 0: all tokens."""
    seed: int | None
    """The same seed gives the same text. Default: the server's own choice."""
    repetition_penalty: float | None
    """0.1 to 10; above 1 makes tokens of prompt and text less likely. Default 1: none."""
    presence_penalty: float | None
    """-2 to 2, subtracted from the logits of tokens written before. Default 0: none."""
    frequency_penalty: float | None
    """-2 to 2, subtracted for each time that a token was written before. Default 0: none."""
    no_repeat_ngram_size: int | None
    """No sequence of so many tokens comes twice, at most 64. Default 0: all may."""
    logit_bias: Mapping[int, float] | None
    """Token id to what is added to its logit, -100 to 100."""
    stop: str | Sequence[str] | None
    """Texts that end the answer before them; at most 16."""
    stop_token_ids: Sequence[int] | None
    """Tokens that end the answer before them; at most 64."""
    logprobs: int | None
    """Tell each token's log-probability, and those of so many alternatives, at most 20. Default None: no log-probabilities."""
    beams: int | None
    """Follow so many texts and tell the best, at most 16. Default 1: no beam search."""
    length_penalty: float | None
    """With beams: above 0 favors long texts, -10 to 10. Default 1."""
    early_stopping: EarlyStopping | None
    """With beams: end when a better text is unlikely ("heuristic", the default), impossible ("never"), or at once ("first")."""
    n_best: int | None
    """With beams: how many of the best texts to tell as hypotheses. Default 1."""
    priority: Priority
    """Place in the queue. Default "normal"."""


Request = TypeVar(
    "Request",
    pb.GenerateRequest,
    pb.StreamGenerateRequest,
    pb.TranslateRequest,
    pb.StreamTranslateRequest,
    pb.SummarizeRequest,
    pb.StreamSummarizeRequest,
)

_OF_THE_REQUEST = ("max_new_tokens", "min_new_tokens", "logprobs")
_OF_SAMPLING = {
    "temperature": 0,
    "top_p": 0,
    "top_k": 32,
    "min_p": 0,
    "seed": 64,
    "repetition_penalty": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "no_repeat_ngram_size": 32,
}
"""Name to the bits of an unsigned integer, or 0 for a number with a fraction."""


def require_known(options: Mapping[str, Any], *kinds: Any) -> None:
    """Raises TypeError for an option that none of the TypedDicts `kinds` has."""
    unknown = options.keys() - {name for kind in kinds for name in kind.__annotations__}
    if unknown:
        raise TypeError(f"unexpected keyword: {', '.join(sorted(unknown))}")


def with_options(request: Request, options: GenerationOptions) -> Request:
    """Set what was given; what is None stays unset, which is not the same as 0.

    Raises InvalidInput where the wire could not carry a value, and TypeError for an option that does not exist.
    """
    require_known(options, GenerationOptions)
    request.priority = priority_of(options.get("priority", "normal"))
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() & _OF_THE_REQUEST:
        setattr(request, name, unsigned(given[name], name))
    for name in given.keys() & _OF_SAMPLING.keys():
        bits = _OF_SAMPLING[name]
        value = unsigned(given[name], f"sampling.{name}", bits) if bits else given[name]
        setattr(request.sampling, name, value)
    for token, bias in (options.get("logit_bias") or {}).items():
        request.sampling.logit_bias[unsigned(token, "sampling.logit_bias")] = bias
    request.stop.extend(_stop_strings(options.get("stop")))
    request.stop_token_ids.extend(
        unsigned(token, "stop_token_ids") for token in options.get("stop_token_ids") or ()
    )
    _set_beams(request, options)
    return request


def _set_beams(request: Request, options: GenerationOptions) -> None:
    """What else is said of a beam search that has no beams, the server refuses."""
    beams, penalty = options.get("beams"), options.get("length_penalty")
    early_stopping, n_best = options.get("early_stopping"), options.get("n_best")
    if beams is not None and beams != 1:
        request.beam_search.beams = unsigned(beams, "beam_search.beams")
    if penalty is not None:
        request.beam_search.length_penalty = penalty
    if n_best is not None:
        request.beam_search.n_best = unsigned(n_best, "beam_search.n_best")
    if early_stopping is not None:
        if early_stopping not in _EARLY_STOPPING:
            raise InvalidInput(
                "early_stopping must be heuristic, first or never", field="beam_search.early_stopping"
            )
        request.beam_search.early_stopping = _EARLY_STOPPING[early_stopping]


def priority_of(priority: str) -> pb.Priority.ValueType:
    if priority not in _PRIORITIES:
        raise InvalidInput("priority must be low, normal or high", field="priority")
    return _PRIORITIES[priority]


def split_of(split: str) -> pb.Split.ValueType:
    if split not in _SPLITS:
        raise InvalidInput("split must be sentences or none", field="split")
    return _SPLITS[split]


def unsigned(value: Any, field: str, bits: int = 32) -> int:
    """Raises InvalidInput for a number that an unsigned field of the wire cannot carry, TypeError for what is no integer."""
    number = operator.index(value)
    if not 0 <= number < 1 << bits:
        name = field.rpartition(".")[2]
        raise InvalidInput(f"{name} must be at least 0 and below 2^{bits}", field=field)
    return number


def _stop_strings(stop: str | Sequence[str] | None) -> Sequence[str]:
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for index, text in enumerate(strings):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInput("the stop string is not valid Unicode", field=f"stop[{index}]") from None
    return strings
