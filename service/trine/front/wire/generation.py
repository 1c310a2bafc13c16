"""What generation, translation and summarization share, between protobuf and serving. Front process, event loop only."""

from __future__ import annotations

import re
import secrets
from typing import Any

from trine import frames
from trine.artifact import Task
from trine.errors import InvalidInput
from trine.front.serving.writing import Writing
from trine.sampling import MAX_BIASES, BeamSearch, Decoding, EarlyStopping, Sampling, Stopping
from trine.v1 import inference_pb2

Request = (
    inference_pb2.GenerateRequest
    | inference_pb2.StreamGenerateRequest
    | inference_pb2.TranslateRequest
    | inference_pb2.StreamTranslateRequest
    | inference_pb2.SummarizeRequest
    | inference_pb2.StreamSummarizeRequest
)
"""Each method has a message of its own, with the same fields; `split` is of translation only."""

Input = inference_pb2.GenerateInput | inference_pb2.TranslateInput | inference_pb2.SummarizeInput

MAX_MESSAGES = 256
MAX_LANGUAGE = 32
_ROLE = re.compile(r"[A-Za-z0-9_-]{1,32}")

_SPLITS = {
    inference_pb2.SPLIT_UNSPECIFIED: True,
    inference_pb2.SPLIT_SENTENCES: True,
    inference_pb2.SPLIT_NONE: False,
}
_EARLY_STOPPING: dict[int, EarlyStopping] = {
    inference_pb2.EARLY_STOPPING_UNSPECIFIED: "heuristic",
    inference_pb2.EARLY_STOPPING_HEURISTIC: "heuristic",
    inference_pb2.EARLY_STOPPING_FIRST: "first",
    inference_pb2.EARLY_STOPPING_NEVER: "never",
}
_FINISH_REASONS = {
    "": inference_pb2.FINISH_REASON_UNSPECIFIED,
    "stop": inference_pb2.FINISH_REASON_STOP,
    "length": inference_pb2.FINISH_REASON_LENGTH,
    "stop_sequence": inference_pb2.FINISH_REASON_STOP_SEQUENCE,
}


# --- requests ----------------------------------------------------------------------------------------------------------------


def writing_of(request: Request, task: Task, *, stream: bool = False) -> Writing:
    """The whole request but its checkpoint and caller. Raises InvalidInput that names the field."""
    decoding = Decoding(
        _sampling(request),
        Stopping(request.min_new_tokens, tuple(request.stop), tuple(request.stop_token_ids)),
        request.max_new_tokens if request.HasField("max_new_tokens") else None,
        request.logprobs if request.HasField("logprobs") else None,
        _beam_search(request),
    )
    decoding.validate()
    return Writing(
        task=task,
        texts=[item.text for item in request.inputs],
        decoding=decoding,
        conversations=_conversations(request),
        directions=_directions(request),
        split=_split(request),
        stream=stream,
    )


def is_empty(item: Input) -> bool:
    """Whether an input says nothing at all."""
    return not item.text and not (isinstance(item, inference_pb2.GenerateInput) and item.messages)


def _conversations(request: Request) -> list[list[frames.Message]]:
    if not isinstance(request, inference_pb2.GenerateRequest | inference_pb2.StreamGenerateRequest):
        return []
    if not any(item.messages for item in request.inputs):
        return []
    for index, item in enumerate(request.inputs):
        if item.messages:
            _validate_conversation(index, item)
    return [
        [frames.Message(message.role, message.content) for message in item.messages]
        for item in request.inputs
    ]


def _validate_conversation(index: int, item: inference_pb2.GenerateInput) -> None:
    field = f"inputs[{index}].messages"
    if item.text:
        raise InvalidInput("an input has either a text or messages", field=field)
    if len(item.messages) > MAX_MESSAGES:
        raise InvalidInput(f"a conversation has at most {MAX_MESSAGES} messages", field=field)
    for place, message in enumerate(item.messages):
        if not _ROLE.fullmatch(message.role):
            raise InvalidInput(
                "a role has 1 to 32 letters, digits, underscores or hyphens", field=f"{field}[{place}].role"
            )


def _directions(request: Request) -> list[frames.Direction]:
    if not isinstance(request, inference_pb2.TranslateRequest | inference_pb2.StreamTranslateRequest):
        return []
    inputs = request.inputs
    for name in ("source_language", "target_language"):
        for index, item in enumerate(inputs):
            if len(getattr(item, name)) > MAX_LANGUAGE:
                raise InvalidInput(
                    f"a language has at most {MAX_LANGUAGE} characters", field=f"inputs[{index}].{name}"
                )
    if not any(item.source_language or item.target_language for item in inputs):
        return []
    return [frames.Direction(item.source_language, item.target_language) for item in inputs]


def _sampling(request: Request) -> Sampling:
    """The request's sampling with the defaults filled in."""
    given = request.sampling
    if len(given.logit_bias) > MAX_BIASES:  # before it is copied: a whole message of them takes 90 ms
        raise InvalidInput(f"logit_bias must name at most {MAX_BIASES} tokens", field="sampling.logit_bias")
    return Sampling(
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


def _beam_search(request: Request) -> BeamSearch | None:
    if not request.HasField("beam_search"):
        return None
    given = request.beam_search
    if given.early_stopping not in _EARLY_STOPPING:
        raise InvalidInput(
            f"{given.early_stopping} is no way to stop early", field="beam_search.early_stopping"
        )
    return BeamSearch(
        given.beams,
        given.length_penalty if given.HasField("length_penalty") else 1.0,
        _EARLY_STOPPING[given.early_stopping],
        given.n_best if given.HasField("n_best") else 1,
    )


def _split(request: Request) -> bool:
    """Whether each sentence is translated on its own."""
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
    if part.hypotheses:
        fields["hypotheses"] = _hypotheses(part)
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
            hypotheses=_hypotheses(segment),
        )
        for segment in part.segments
    ]


def usage(of: frames.Usage | None) -> inference_pb2.Usage | None:
    if of is None:
        return None
    return inference_pb2.Usage(
        input_tokens=of.input_tokens,
        output_tokens=of.output_tokens,
        cut_tokens=of.cut_tokens,
        cached_tokens=of.cached_tokens,
        windows=of.windows,
    )


def _hypotheses(
    part: frames.Generated | frames.Delta | frames.Segment,
) -> list[inference_pb2.Hypothesis]:
    """What a beam search tells beside its best text."""
    return [
        inference_pb2.Hypothesis(
            text=one.text,
            score=one.score,
            finish_reason=_FINISH_REASONS[one.finish],
            stop_token_id=one.matched if isinstance(one.matched, int) else None,
            output_tokens=one.output_tokens,
        )
        for one in part.hypotheses
    ]


def _logprob(entry: frames.TokenLogprob) -> inference_pb2.TokenLogprob:
    alternatives = [
        inference_pb2.Alternative(token_id=other.token_id, text=other.text, logprob=other.logprob)
        for other in entry.alternatives
    ]
    return inference_pb2.TokenLogprob(
        token_id=entry.token_id, text=entry.text, logprob=entry.logprob, alternatives=alternatives
    )
