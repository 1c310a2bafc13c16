"""The blocking client's calls to the encoder family. Safe to share between threads."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack, overload

from trine.client import reading_answers, reading_requests
from trine.client.answers import shaped
from trine.client.blocking_checkpoints import Checkpoints
from trine.client.reading_answers import Classification, Embedding, Outcome, TokenClassification
from trine.client.reading_requests import (
    ClassifyOptions,
    ClassifyTokensOptions,
    EmbedOptions,
    Inputs,
    StreamRequests,
    StreamTexts,
)
from trine.client.requests import Texts
from trine.client.streams import Sent, Stream

_Answer = TypeVar("_Answer")


class Reading(Checkpoints):
    """Classify, ClassifyTokens and Embed; Client is made of it."""

    @overload
    def classify(
        self,
        checkpoint: str,
        texts: str,
        *,
        text_pairs: str | None = ...,
        timeout: float | None = ...,
        **options: Unpack[ClassifyOptions],
    ) -> Classification: ...
    @overload
    def classify(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        text_pairs: Sequence[str | None] | None = ...,
        timeout: float | None = ...,
        **options: Unpack[ClassifyOptions],
    ) -> builtins.list[Classification]: ...
    def classify(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        text_pairs: str | Sequence[str | None] | None = None,
        timeout: float | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classification | builtins.list[Classification]:
        """Score each text, or pair of texts, against the checkpoint's labels. Options: see ClassifyOptions."""
        request = reading_requests.classify_request(checkpoint, texts, text_pairs, options)
        response = self._infer(self._inference.Classify, request, timeout)
        return shaped(texts, reading_answers.classifications(response))

    @overload
    def classify_tokens(
        self,
        checkpoint: str,
        texts: str,
        *,
        timeout: float | None = ...,
        **options: Unpack[ClassifyTokensOptions],
    ) -> TokenClassification: ...
    @overload
    def classify_tokens(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        timeout: float | None = ...,
        **options: Unpack[ClassifyTokensOptions],
    ) -> builtins.list[TokenClassification]: ...
    def classify_tokens(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[ClassifyTokensOptions],
    ) -> TokenClassification | builtins.list[TokenClassification]:
        """Find the entities of each text, as names and places. Options: see ClassifyTokensOptions."""
        request = reading_requests.classify_tokens_request(checkpoint, texts, options)
        response = self._infer(self._inference.ClassifyTokens, request, timeout)
        return shaped(texts, reading_answers.token_classifications(response))

    @overload
    def embed(
        self,
        checkpoint: str,
        texts: str,
        *,
        timeout: float | None = ...,
        **options: Unpack[EmbedOptions],
    ) -> Embedding: ...
    @overload
    def embed(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        timeout: float | None = ...,
        **options: Unpack[EmbedOptions],
    ) -> builtins.list[Embedding]: ...
    def embed(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embedding | builtins.list[Embedding]:
        """Turn each text into a vector. Options: see EmbedOptions."""
        request = reading_requests.embed_request(checkpoint, texts, options)
        response = self._infer(self._inference.Embed, request, timeout)
        return shaped(texts, reading_answers.embeddings(response))

    # --- many inputs over one call -----------------------------------------------------------------------------------

    def stream_classify(
        self,
        checkpoint: str,
        inputs: Inputs,
        *,
        timeout: float | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Stream[Outcome[Classification]]:
        """Classify texts, or (text, text_pair)s, as they come, many at once; outcomes come in any order, and errors as outcomes.

        The stream lasts as long as `inputs`, or `timeout` seconds where that is given. What `inputs` raises, the stream raises at its
        end.
        """
        requests = reading_requests.stream_classify_requests(checkpoint, options)
        method, convert = self._inference.StreamClassify, reading_answers.classified
        return self._exchange(method, requests, inputs, convert, timeout)

    def stream_classify_tokens(
        self,
        checkpoint: str,
        texts: StreamTexts,
        *,
        timeout: float | None = None,
        **options: Unpack[ClassifyTokensOptions],
    ) -> Stream[Outcome[TokenClassification]]:
        """Find the entities of texts as they come; as stream_classify."""
        requests = reading_requests.stream_classify_tokens_requests(checkpoint, options)
        method, convert = self._inference.StreamClassifyTokens, reading_answers.tagged
        return self._exchange(method, requests, texts, convert, timeout)

    def stream_embed(
        self,
        checkpoint: str,
        texts: StreamTexts,
        *,
        timeout: float | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Stream[Outcome[Embedding]]:
        """Turn texts into vectors as they come; as stream_classify."""
        requests = reading_requests.stream_embed_requests(checkpoint, options)
        method, convert = self._inference.StreamEmbed, reading_answers.embedded
        return self._exchange(method, requests, texts, convert, timeout)

    def _exchange(
        self,
        method: Callable[..., Any],
        requests: StreamRequests,
        inputs: Any,
        convert: Callable[[Any], Outcome[_Answer]],
        timeout: float | None,
    ) -> Stream[Outcome[_Answer]]:
        sent = Sent(inputs, requests)
        return Stream(method(iter(sent), timeout=timeout), convert, self._target, sent)
