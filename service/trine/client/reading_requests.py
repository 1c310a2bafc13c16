"""What classify, classify_tokens, embed and their streams send. Pure functions, any thread."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar

from trine.client.options import Priority, priority_of, require_known, unsigned
from trine.client.requests import Texts, sendable, validate_unicode
from trine.errors import InvalidInput
from trine.v1 import inference_pb2 as pb

Aggregation = Literal["none", "simple", "first", "average", "max"]
"""How tokens become entities, as transformers' TokenClassificationPipeline names it."""
Input: TypeAlias = str | tuple[str, str]
"""One input of stream_classify: a text, or a pair of texts."""
Inputs: TypeAlias = Iterable[Input] | AsyncIterable[Input]
StreamTexts: TypeAlias = Iterable[str] | AsyncIterable[str]
"""Texts of a stream, without end if need be; the asynchronous client takes either kind."""


class ReadingOptions(TypedDict, total=False):
    """Keywords of classify, classify_tokens, embed and their streams; what is left out, the server decides."""

    windows: bool
    """Read texts that are longer than the context in windows, whose answers are joined. Default False: they are refused."""
    overlap: int | None
    """Tokens that two windows share. Default: a quarter of what a window holds."""
    priority: Priority
    """Place in the queue. Default "normal"."""


class ClassifyOptions(ReadingOptions, total=False):
    top_k: int
    """How many labels to tell, best first. Default 0: all."""
    raw_scores: bool
    """Tell logits instead of probabilities. Default False."""


class ClassifyTokensOptions(ReadingOptions, total=False):
    aggregation: Aggregation
    """How tokens become entities. Default "simple"."""


class EmbedOptions(ReadingOptions, total=False):
    normalize: bool | None
    """Whether each embedding has length 1. Default None: as the checkpoint was made."""
    dimensions: int
    """Tell the first so many values, cut before the embedding is normalized. Default 0: all."""


_AGGREGATIONS: dict[str, pb.Aggregation.ValueType] = {
    "none": pb.AGGREGATION_NONE,
    "simple": pb.AGGREGATION_SIMPLE,
    "first": pb.AGGREGATION_FIRST,
    "average": pb.AGGREGATION_AVERAGE,
    "max": pb.AGGREGATION_MAX,
}

ClassifyRequest = TypeVar("ClassifyRequest", pb.ClassifyRequest, pb.StreamClassifyRequest)
TokensRequest = TypeVar("TokensRequest", pb.ClassifyTokensRequest, pb.StreamClassifyTokensRequest)
EmbedRequest = TypeVar("EmbedRequest", pb.EmbedRequest, pb.StreamEmbedRequest)


def classify_request(
    checkpoint: str,
    texts: str | Texts,
    text_pairs: str | Sequence[str | None] | None,
    options: ClassifyOptions,
) -> pb.ClassifyRequest:
    """Raises InvalidInput where the wire could not carry a value, and TypeError for an option that does not exist."""
    pairs = [text_pairs] if isinstance(text_pairs, str) else list(text_pairs or ())
    given = list(sendable(texts))
    if pairs and len(pairs) != len(given):
        raise InvalidInput(f"{len(pairs)} text_pairs for {len(given)} texts", field="inputs")
    for index, pair in enumerate(pairs):
        validate_unicode("the text", pair or "", f"inputs[{index}].text_pair")
    inputs = [
        pb.ClassifyInput(text=text, text_pair=pair)
        for text, pair in zip(given, pairs or [None] * len(given), strict=True)
    ]
    return _classify(pb.ClassifyRequest(checkpoint=checkpoint, inputs=inputs), options)


def classify_tokens_request(
    checkpoint: str, texts: str | Texts, options: ClassifyTokensOptions
) -> pb.ClassifyTokensRequest:
    """Raises as classify_request does."""
    inputs = [pb.ClassifyTokensInput(text=text) for text in sendable(texts)]
    return _classify_tokens(pb.ClassifyTokensRequest(checkpoint=checkpoint, inputs=inputs), options)


def embed_request(checkpoint: str, texts: str | Texts, options: EmbedOptions) -> pb.EmbedRequest:
    """Raises as classify_request does."""
    inputs = [pb.EmbedInput(text=text) for text in sendable(texts)]
    return _embed(pb.EmbedRequest(checkpoint=checkpoint, inputs=inputs), options)


class StreamRequests:
    """Makes the requests of one stream: the options of all, checked at once, with a text and an id for each."""

    def __init__(
        self, request: pb.StreamClassifyRequest | pb.StreamClassifyTokensRequest | pb.StreamEmbedRequest
    ) -> None:
        self._template = request

    def __call__(self, index: int, given: Input) -> Any:
        """Raises InvalidInput for what is no text, or no pair where pairs are read, and for a text that UTF-8 cannot carry."""
        text, pair = self._parted(given)
        validate_unicode("the text", text + (pair or ""), "input.text")
        request: Any = type(self._template)()
        request.CopyFrom(self._template)
        request.id = str(index)
        request.input.text = text
        if pair is not None:
            request.input.text_pair = pair
        return request

    def _parted(self, given: Input) -> tuple[str, str | None]:
        if isinstance(given, str):
            return given, None
        pairs = isinstance(self._template, pb.StreamClassifyRequest)
        if not pairs or len(given) != 2 or not all(isinstance(text, str) for text in given):
            raise InvalidInput(
                "an input is a text, or a pair of texts" if pairs else "an input is a text", field="input"
            )
        return given


def stream_classify_requests(checkpoint: str, options: ClassifyOptions) -> StreamRequests:
    """Raises as classify_request does."""
    return StreamRequests(_classify(pb.StreamClassifyRequest(checkpoint=checkpoint), options))


def stream_classify_tokens_requests(checkpoint: str, options: ClassifyTokensOptions) -> StreamRequests:
    """Raises as classify_request does."""
    return StreamRequests(_classify_tokens(pb.StreamClassifyTokensRequest(checkpoint=checkpoint), options))


def stream_embed_requests(checkpoint: str, options: EmbedOptions) -> StreamRequests:
    """Raises as classify_request does."""
    return StreamRequests(_embed(pb.StreamEmbedRequest(checkpoint=checkpoint), options))


def _classify(request: ClassifyRequest, options: ClassifyOptions) -> ClassifyRequest:
    _set_shared(request, options, ClassifyOptions)
    request.top_k = unsigned(options.get("top_k", 0), "top_k")
    request.raw_scores = options.get("raw_scores", False)
    return request


def _classify_tokens(request: TokensRequest, options: ClassifyTokensOptions) -> TokensRequest:
    _set_shared(request, options, ClassifyTokensOptions)
    aggregation = options.get("aggregation", "simple")
    if aggregation not in _AGGREGATIONS:
        raise InvalidInput("aggregation must be none, simple, first, average or max", field="aggregation")
    request.aggregation = _AGGREGATIONS[aggregation]
    return request


def _embed(request: EmbedRequest, options: EmbedOptions) -> EmbedRequest:
    _set_shared(request, options, EmbedOptions)
    normalize = options.get("normalize")
    if normalize is not None:
        request.normalize = normalize
    request.dimensions = unsigned(options.get("dimensions", 0), "dimensions")
    request.format = pb.VECTOR_FORMAT_PACKED
    return request


def _set_shared(request: Any, options: ReadingOptions, known: Any) -> None:
    require_known(options, known, ReadingOptions)
    request.priority = priority_of(options.get("priority", "normal"))
    overlap = options.get("overlap")
    if options.get("windows", False):
        request.windows.SetInParent()
        if overlap is not None:
            request.windows.overlap = unsigned(overlap, "windows.overlap")
    elif overlap is not None:
        raise InvalidInput("an overlap is of windows, which were not asked for", field="windows.overlap")
