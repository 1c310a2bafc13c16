"""The blocking client. Safe to share between threads; gRPC's own threads do the waiting."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Unpack, overload

from trine.client import answers, requests
from trine.client.answers import Delta, Generation, Summary, Translation
from trine.client.blocking_reading import Reading
from trine.client.options import GenerationOptions, Split
from trine.client.requests import Conversation, Texts
from trine.client.streams import Stream


class Client(Reading):
    """Calls one Trine server. `AsyncClient` has the same methods.

    `timeout` is in seconds, for every inference call that names none of its own; administration waits as long as it takes,
    unless told otherwise. `options` are gRPC channel options, laid over those of trine.client.channel.
    Every method raises errors of trine.errors; TryLater where the server cannot be reached.
    """

    @overload
    def generate(
        self,
        checkpoint: str,
        texts: str,
        *,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> Generation: ...
    @overload
    def generate(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> builtins.list[Generation]: ...
    def generate(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Generation | builtins.list[Generation]:
        """Continue each prompt. Options: see GenerationOptions."""
        request = requests.generate_request(checkpoint, texts, options)
        response = self._infer(self._inference.Generate, request, timeout)
        return answers.shaped(texts, answers.generations(response))

    def stream_generate(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Stream[Delta]:
        """As generate, with the text as it comes."""
        request = requests.stream_generate_request(checkpoint, texts, options)
        return self._stream(self._inference.StreamGenerate, request, timeout)

    def chat(
        self,
        checkpoint: str,
        messages: Conversation,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """The next turn of a conversation, by the checkpoint's own chat template. Options: see GenerationOptions."""
        request = requests.chat_request(checkpoint, messages, options)
        response = self._infer(self._inference.Generate, request, timeout)
        return answers.shaped("", answers.generations(response))

    def stream_chat(
        self,
        checkpoint: str,
        messages: Conversation,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Stream[Delta]:
        """As chat, with the text as it comes."""
        request = requests.stream_chat_request(checkpoint, messages, options)
        return self._stream(self._inference.StreamGenerate, request, timeout)

    @overload
    def translate(
        self,
        checkpoint: str,
        texts: str,
        *,
        split: Split = ...,
        source_language: str = ...,
        target_language: str = ...,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> Translation: ...
    @overload
    def translate(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        split: Split = ...,
        source_language: str = ...,
        target_language: str = ...,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> builtins.list[Translation]: ...
    def translate(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        split: Split = "sentences",
        source_language: str = "",
        target_language: str = "",
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Translation | builtins.list[Translation]:
        """Translate each text, of any length, or with `split` "none" as one. Options: see GenerationOptions.

        Languages as the checkpoint names them, for all texts; "" leaves them to the checkpoint.
        """
        request = requests.translate_request(
            checkpoint,
            texts,
            options,
            split=split,
            source_language=source_language,
            target_language=target_language,
        )
        response = self._infer(self._inference.Translate, request, timeout)
        return answers.shaped(texts, answers.translations(response))

    def stream_translate(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        split: Split = "sentences",
        source_language: str = "",
        target_language: str = "",
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Stream[Delta]:
        """As translate, with the text as it comes."""
        request = requests.stream_translate_request(
            checkpoint,
            texts,
            options,
            split=split,
            source_language=source_language,
            target_language=target_language,
        )
        return self._stream(self._inference.StreamTranslate, request, timeout)

    @overload
    def summarize(
        self,
        checkpoint: str,
        texts: str,
        *,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> Summary: ...
    @overload
    def summarize(
        self,
        checkpoint: str,
        texts: Texts,
        *,
        timeout: float | None = ...,
        **options: Unpack[GenerationOptions],
    ) -> builtins.list[Summary]: ...
    def summarize(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Summary | builtins.list[Summary]:
        """Summarize each text. Options: see GenerationOptions."""
        request = requests.summarize_request(checkpoint, texts, options)
        response = self._infer(self._inference.Summarize, request, timeout)
        return answers.shaped(texts, answers.summaries(response))

    def stream_summarize(
        self,
        checkpoint: str,
        texts: str | Texts,
        *,
        timeout: float | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Stream[Delta]:
        """As summarize, with the text as it comes."""
        request = requests.stream_summarize_request(checkpoint, texts, options)
        return self._stream(self._inference.StreamSummarize, request, timeout)

    def _stream(self, method: Callable[..., Any], request: Any, timeout: float | None) -> Stream[Delta]:
        call = method(request, timeout=self._timeout if timeout is None else timeout)
        return Stream(call, answers.delta, self._target)
