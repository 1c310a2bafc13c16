"""The options and answers that generation and translation share, between protobuf and serving. Front process, event loop only."""

from __future__ import annotations

import secrets
from typing import Any

from trine import frames
from trine.errors import InvalidInput
from trine.sampling import MAX_BIASES, MAX_LOGPROBS, Sampling, Stopping
from trine.v1 import inference_pb2

Request = (
    inference_pb2.GenerateRequest
    | inference_pb2.StreamGenerateRequest
    | inference_pb2.TranslateRequest
    | inference_pb2.StreamTranslateRequest
)
"""Four messages, since each method has its own, with the same fields; `split` is of translation only."""

_SPLITS = {
    inference_pb2.SPLIT_UNSPECIFIED: True,
    inference_pb2.SPLIT_SENTENCES: True,
    inference_pb2.SPLIT_NONE: False,
}
_FINISH_REASONS = {
    "": inference_pb2.FINISH_REASON_UNSPECIFIED,
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
    "stop_sequence": inference_pb2.FINISH_REASON_STOP_SEQUENCE,
}


# --- requests ----------------------------------------------------------------------------------------------------------------


def validate_new_tokens(request: Request) -> None:
    """Raise InvalidInput that names the field."""
    if not request.HasField("max_new_tokens"):
        return
    if request.max_new_tokens == 0:
        raise InvalidInput("max_new_tokens must be at least 1", field="max_new_tokens")
    if request.min_new_tokens > request.max_new_tokens:
        raise InvalidInput("min_new_tokens must be at most max_new_tokens", field="min_new_tokens")


def sampling_of(request: Request) -> Sampling:
    """The request's sampling with the defaults filled in. Raises InvalidInput that names the field, for NaN too."""
    given = request.sampling
    if len(given.logit_bias) > MAX_BIASES:  # before it is copied: a whole message of them takes 90 ms
        raise InvalidInput(f"logit_bias must name at most {MAX_BIASES} tokens", field="sampling.logit_bias")
    sampling = Sampling(
        temperature=given.temperature,
        top_p=given.top_p if given.HasField("top_p") else 1.0,
        top_k=given.top_k,
        seed=given.seed if given.HasField("seed") else secrets.randbits(63),
        min_p=given.min_p,
        repetition_penalty=given.repetition_penalty if given.HasField("repetition_penalty") else 1.0,
        presence_penalty=given.presence_penalty,
        frequency_penalty=given.frequency_penalty,
        no_repeat_ngram_size=given.no_repeat_ngram_size,
        logit_bias=dict(given.logit_bias),
    )
    sampling.validate()
    return sampling


def stopping_of(request: Request) -> Stopping:
    """Raises InvalidInput that names the field."""
    stopping = Stopping(request.min_new_tokens, tuple(request.stop), tuple(request.stop_token_ids))
    stopping.validate()
    return stopping


def logprobs_of(request: Request) -> int | None:
    """How many alternatives are told with each log-probability, or None. Raises InvalidInput that names the field."""
    if not request.HasField("logprobs"):
        return None
    if request.logprobs > MAX_LOGPROBS:
        raise InvalidInput(f"logprobs must be at most {MAX_LOGPROBS}", field="logprobs")
    return request.logprobs


def split_of(request: Request) -> bool:
    """Whether each sentence is translated on its own. Raises InvalidInput that names the field."""
    if not isinstance(request, inference_pb2.TranslateRequest | inference_pb2.StreamTranslateRequest):
        return False
    if request.split not in _SPLITS:
        raise InvalidInput(f"{request.split} is no way to split", field="split")
    return _SPLITS[request.split]


# --- answers -----------------------------------------------------------------------------------------------------------------


def told(part: frames.Generated | frames.Delta) -> dict[str, Any]:
    """The fields that a whole text and a delta have in common."""
    fields: dict[str, Any] = {
        "text": part.text,
        "finish_reason": _FINISH_REASONS[part.finish],
        "usage": usage(part.usage),
        "logprobs": [_logprob(entry) for entry in part.logprobs],
    }
    if isinstance(part.matched, str):
        fields["stop_string"] = part.matched
    elif part.matched is not None:
        fields["stop_token_id"] = part.matched
    return fields


def segments(part: frames.Generated | frames.Delta) -> list[inference_pb2.Segment]:
    """What only a translation tells."""
    return [
        inference_pb2.Segment(
            source_begin=segment.source_begin,
            source_end=segment.source_end,
            target_begin=segment.target_begin,
            target_end=segment.target_end,
            finish_reason=_FINISH_REASONS[segment.finish],
        )
        for segment in part.segments
    ]


def usage(of: frames.Usage | None) -> inference_pb2.Usage | None:
    if of is None:
        return None
    return inference_pb2.Usage(
        input_tokens=of.input_tokens, output_tokens=of.output_tokens, cut_tokens=of.cut_tokens
    )


def _logprob(entry: frames.TokenLogprob) -> inference_pb2.TokenLogprob:
    alternatives = [
        inference_pb2.Alternative(token_id=other.token_id, text=other.text, logprob=other.logprob)
        for other in entry.alternatives
    ]
    return inference_pb2.TokenLogprob(
        token_id=entry.token_id, text=entry.text, logprob=entry.logprob, alternatives=alternatives
    )
