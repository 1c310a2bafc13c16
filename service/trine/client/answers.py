"""What the generating calls answer: responses turned into frozen values. Pure functions, any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, overload

from trine.client.requests import Texts
from trine.errors import Bug
from trine.v1 import inference_pb2 as pb

_FINISH_REASONS = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_STOP_SEQUENCE: "stop_sequence",
}
_Answer = TypeVar("_Answer")
_Streamed = pb.StreamGenerateResponse | pb.StreamTranslateResponse | pb.StreamSummarizeResponse
_Written = pb.Generation | pb.Translation | pb.Summary | _Streamed


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one input, counted by the checkpoint's own tokenizer."""

    input_tokens: int
    output_tokens: int
    cut_tokens: int
    cached_tokens: int = 0
    """Input tokens whose keys and values were in the prefix cache."""
    windows: int = 0
    """Sequences in which the text was read by classify, classify_tokens or embed; 1 where it fits the context."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have been written."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written, with its log-probability before penalties, temperature and filters."""

    token_id: int
    text: str
    """What the token adds after other text; U+FFFD for a part of a character."""
    logprob: float
    """Natural logarithm."""
    alternatives: tuple[Alternative, ...]
    """The most probable tokens in its place, best first."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One of the n best texts of a beam search."""

    text: str
    score: float
    """Sum of its log-probabilities, divided by its length to the power of the length penalty."""
    finish_reason: str
    output_tokens: int
    matched_stop: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    text: str
    """The new text, without the prompt."""
    finish_reason: str
    """ "stop": the checkpoint ended the text; "length": the limit did; "stop_sequence": a stop string or stop token id did."""
    usage: Usage
    checkpoint: str
    matched_stop: str | int | None = None
    """The stop string or stop token id that ended the text."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """One for each written token, where they were asked for."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """Of a beam search: its n best texts, best first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """As Generation; the text is the summary."""

    text: str
    finish_reason: str
    usage: Usage
    checkpoint: str
    matched_stop: str | int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a text that was translated on its own: where it stands in source and target, as slices of the strings."""

    source_begin: int
    source_end: int
    target_begin: int
    target_end: int
    finish_reason: str
    """As of Generation, of this part alone; likewise the hypotheses."""
    hypotheses: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True, slots=True)
class Translation:
    """As Generation; "length" where the limit ended any of its segments."""

    text: str
    finish_reason: str
    usage: Usage
    checkpoint: str
    matched_stop: str | int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    segments: tuple[Segment, ...] = ()
    """In order."""


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
    matched_stop: str | int | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    """The tokens written since the input's last delta, where they were asked for."""
    segments: tuple[Segment, ...] = ()
    """Of a translation: those that are finished since the input's last delta."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """Of a beam search, in the input's last delta; those of a translation are in its segments."""


def generations(response: pb.GenerateResponse) -> list[Generation]:
    return [Generation(*_written(result, response.checkpoint)) for result in response.results]


def summaries(response: pb.SummarizeResponse) -> list[Summary]:
    return [Summary(*_written(result, response.checkpoint)) for result in response.results]


def _written(result: pb.Generation | pb.Summary, checkpoint: str) -> tuple[Any, ...]:
    """The fields that both have, in their order."""
    return (
        result.text,
        _finish(result.finish_reason),
        usage_of(result.usage),
        checkpoint,
        _matched_stop(result),
        _logprobs(result),
        _hypotheses(result),
    )


def translations(response: pb.TranslateResponse) -> list[Translation]:
    return [
        Translation(
            result.text,
            _finish(result.finish_reason),
            usage_of(result.usage),
            response.checkpoint,
            _matched_stop(result),
            _logprobs(result),
            _segments(result),
        )
        for result in response.results
    ]


def delta(response: _Streamed) -> Delta:
    last = response.finish_reason != pb.FINISH_REASON_UNSPECIFIED
    return Delta(
        response.text,
        response.input_index,
        _finish(response.finish_reason) if last else None,
        usage_of(response.usage) if last else None,
        response.checkpoint,
        _matched_stop(response),
        _logprobs(response),
        _segments(response) if isinstance(response, pb.StreamTranslateResponse) else (),
        () if isinstance(response, pb.StreamTranslateResponse) else _hypotheses(response),
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


def _finish(reason: pb.FinishReason.ValueType) -> str:
    return _FINISH_REASONS.get(reason, "unknown")


def usage_of(usage: pb.Usage) -> Usage:
    return Usage(
        usage.input_tokens, usage.output_tokens, usage.cut_tokens, usage.cached_tokens, usage.windows
    )


def _matched_stop(part: _Written) -> str | int | None:
    match part.WhichOneof("matched_stop"):
        case "stop_string":
            return part.stop_string
        case "stop_token_id":
            return part.stop_token_id
    return None


def _logprobs(part: _Written) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            entry.token_id,
            entry.text,
            entry.logprob,
            tuple(Alternative(other.token_id, other.text, other.logprob) for other in entry.alternatives),
        )
        for entry in part.logprobs
    )


def _segments(part: pb.Translation | pb.StreamTranslateResponse) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            segment.source_begin,
            segment.source_end,
            segment.target_begin,
            segment.target_end,
            _finish(segment.finish_reason),
            _hypotheses(segment),
        )
        for segment in part.segments
    )


def _hypotheses(
    part: pb.Generation | pb.Summary | pb.StreamGenerateResponse | pb.StreamSummarizeResponse | pb.Segment,
) -> tuple[Hypothesis, ...]:
    return tuple(
        Hypothesis(
            one.text,
            one.score,
            _finish(one.finish_reason),
            one.output_tokens,
            one.stop_token_id if one.HasField("stop_token_id") else None,
        )
        for one in part.hypotheses
    )
