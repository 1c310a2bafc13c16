"""What generation and translation share: texts in, written texts out, whole or as they grow. Engine process, its only thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling import sequence as scheduling
from trine.engine.scheduling.call import Call
from trine.engine.tasks.inputs import Tokenizer
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Sampling

DEFAULT_NEW_TOKENS = 256
_SEEDS = 1 << 64

MakeChoice = Callable[[Sampling, int], object]
"""Parameters and a seed to the sampler's state of one sequence."""


class TextStream(Protocol):
    def push(self, token: int, /) -> str:
        """The text that has become certain with this token; may be empty."""

    def finish(self) -> str:
        """What was withheld."""


class Detokenizer(Protocol):
    def decode(self, ids: Sequence[int], /) -> str:
        """The text of all ids together, special tokens skipped."""

    def stream(self) -> TextStream: ...


@dataclass(slots=True, eq=False, kw_only=True)
class Draft(scheduling.Sequence):
    """A text being written."""

    text: TextStream | None
    """Only for a streamed call."""
    told: int = 0
    """How many of the written tokens the text has got."""


class GenerativeTask(ABC):
    """Subclasses read the texts, know the room of the context, and say what the decoder begins with."""

    def __init__(
        self, manifest: Manifest, tokenizer: Tokenizer, detokenizer: Detokenizer, choice: MakeChoice
    ) -> None:
        if manifest.generation is None:
            raise Bug("a generating checkpoint without generation settings")
        self._tokenizer = tokenizer
        self._detokenizer = detokenizer
        self._choice = choice
        self._limits = manifest.limits
        self._generation = manifest.generation
        self._eos_ids = frozenset(manifest.generation.eos_ids)

    def prepare(self, request: frames.Submit, call: Call) -> list[Draft]:
        """Raises InvalidInput, naming the field, and WrongTask."""
        if not isinstance(request, frames.Generate):
            raise WrongTask("the checkpoint writes text, it does not classify", field="checkpoint")
        encoded = self._read(request.texts)
        limits = [self._new_tokens(len(tokens), request.max_new_tokens) for tokens in encoded]
        call.stream = request.stream
        return [
            self._draft(call, index, tokens, limit, request.sampling)
            for index, (tokens, limit) in enumerate(zip(encoded, limits, strict=True))
        ]

    def tell(self, draft: Draft) -> frames.Answer | frames.Delta | None:
        """A delta when there is new text or an end, for a streamed call; else the answer when all inputs are finished."""
        return self._delta(draft) if draft.call.stream else self._answer(draft)

    def _delta(self, draft: Draft) -> frames.Delta | None:
        if draft.text is None:
            raise Bug("a streamed text without its stream")
        call, text = draft.call, "".join([draft.text.push(token) for token in self._visible(draft)])
        draft.told = draft.written
        if not draft.finish:
            return frames.Delta(call.id, draft.index, text) if text else None
        text += draft.text.finish()
        last = call.settle(draft.index, None)
        return frames.Delta(call.id, draft.index, text, draft.finish, _usage(draft), last)

    def _answer(self, draft: Draft) -> frames.Answer | None:
        if not draft.finish:
            return None
        text = self._detokenizer.decode(self._visible(draft))
        call, result = draft.call, frames.Generated(text, draft.finish, _usage(draft))
        return frames.Answer(call.id, generated=call.in_order()) if call.settle(draft.index, result) else None

    def _visible(self, draft: Draft) -> list[int]:
        """The written tokens that have not been told. An end token is no text, be it special to the tokenizer or not."""
        return [token for token in draft.context[draft.begin + draft.told :] if token not in self._eos_ids]

    @abstractmethod
    def _read(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text. Raises InvalidInput."""

    @abstractmethod
    def _room(self, input_tokens: int) -> int:
        """The most tokens that can be written after such an input, at least 1."""

    @abstractmethod
    def _draft(self, call: Call, index: int, tokens: list[int], limit: int, sampling: Sampling) -> Draft:
        """The text to write after one input."""

    def _new_tokens(self, input_tokens: int, wanted: int | None) -> int:
        """How many tokens will be written at most. Raises InvalidInput when the wish does not fit."""
        room = self._room(input_tokens)
        if wanted is None:
            return min(room, DEFAULT_NEW_TOKENS)
        if not 1 <= wanted <= room:
            raise InvalidInput(
                f"max_new_tokens is {wanted}; after an input of {input_tokens} tokens it can be 1 to {room}",
                field="max_new_tokens",
            )
        return wanted

    def _choice_for(self, sampling: Sampling, index: int) -> object:
        """Input i draws as if it were alone with the seed plus i."""
        return self._choice(sampling, (sampling.seed + index) % _SEEDS)

    def _stream_for(self, call: Call) -> TextStream | None:
        return self._detokenizer.stream() if call.stream else None


def _usage(draft: Draft) -> frames.Usage:
    return frames.Usage(len(draft.tokens), draft.written)
