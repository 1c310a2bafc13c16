"""What the generating calls send. Pure functions, any thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trine.client.options import GenerationOptions, split_of, with_options
from trine.errors import InvalidInput
from trine.v1 import inference_pb2 as pb

Texts = list[str] | tuple[str, ...]
"""A batch: the answers come as a list in the same order."""
Conversation = Sequence[Mapping[str, str]]
"""Messages, each with a "role" and its "content", as transformers has them."""


def generate_request(checkpoint: str, texts: str | Texts, options: GenerationOptions) -> pb.GenerateRequest:
    """Raises InvalidInput where the wire could not carry a value, and TypeError for an option that does not exist; all else the server
    judges.
    """
    inputs = [pb.GenerateInput(text=text) for text in sendable(texts)]
    return with_options(pb.GenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def stream_generate_request(
    checkpoint: str, texts: str | Texts, options: GenerationOptions
) -> pb.StreamGenerateRequest:
    """Raises as generate_request does."""
    inputs = [pb.GenerateInput(text=text) for text in sendable(texts)]
    return with_options(pb.StreamGenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def translate_request(
    checkpoint: str,
    texts: str | Texts,
    options: GenerationOptions,
    *,
    split: str,
    source_language: str,
    target_language: str,
) -> pb.TranslateRequest:
    """Raises as generate_request does."""
    inputs = _translations(texts, source_language, target_language)
    request = pb.TranslateRequest(checkpoint=checkpoint, inputs=inputs, split=split_of(split))
    return with_options(request, options)


def stream_translate_request(
    checkpoint: str,
    texts: str | Texts,
    options: GenerationOptions,
    *,
    split: str,
    source_language: str,
    target_language: str,
) -> pb.StreamTranslateRequest:
    """Raises as generate_request does."""
    inputs = _translations(texts, source_language, target_language)
    request = pb.StreamTranslateRequest(checkpoint=checkpoint, inputs=inputs, split=split_of(split))
    return with_options(request, options)


def summarize_request(checkpoint: str, texts: str | Texts, options: GenerationOptions) -> pb.SummarizeRequest:
    """Raises as generate_request does."""
    inputs = [pb.SummarizeInput(text=text) for text in sendable(texts)]
    return with_options(pb.SummarizeRequest(checkpoint=checkpoint, inputs=inputs), options)


def stream_summarize_request(
    checkpoint: str, texts: str | Texts, options: GenerationOptions
) -> pb.StreamSummarizeRequest:
    """Raises as generate_request does."""
    inputs = [pb.SummarizeInput(text=text) for text in sendable(texts)]
    return with_options(pb.StreamSummarizeRequest(checkpoint=checkpoint, inputs=inputs), options)


def chat_request(checkpoint: str, messages: Conversation, options: GenerationOptions) -> pb.GenerateRequest:
    """Raises as generate_request does."""
    inputs = [_conversation(messages)]
    return with_options(pb.GenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def stream_chat_request(
    checkpoint: str, messages: Conversation, options: GenerationOptions
) -> pb.StreamGenerateRequest:
    """Raises as generate_request does."""
    inputs = [_conversation(messages)]
    return with_options(pb.StreamGenerateRequest(checkpoint=checkpoint, inputs=inputs), options)


def _translations(texts: str | Texts, source_language: str, target_language: str) -> list[pb.TranslateInput]:
    return [
        pb.TranslateInput(text=text, source_language=source_language, target_language=target_language)
        for text in sendable(texts)
    ]


def _conversation(messages: Conversation) -> pb.GenerateInput:
    """Raises InvalidInput for a message without role or content, or with more, and for one that UTF-8 cannot carry."""
    turns = []
    for place, message in enumerate(messages):
        field = f"inputs[0].messages[{place}]"
        if message.keys() != {"role", "content"}:
            raise InvalidInput('a message has a "role" and a "content"', field=field)
        validate_unicode("the message", message["role"] + message["content"], field)
        turns.append(pb.Message(role=message["role"], content=message["content"]))
    return pb.GenerateInput(messages=turns)


def sendable(texts: str | Texts) -> Iterable[str]:
    """The inputs. Raises InvalidInput for one that UTF-8 cannot carry (a lone surrogate), naming its place."""
    inputs: Sequence[str] = [texts] if isinstance(texts, str) else texts
    for index, text in enumerate(inputs):
        validate_unicode("the text", text, f"inputs[{index}].text")
    return inputs


def validate_unicode(noun: str, text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{noun} is not valid Unicode", field=field) from None
