"""What generation and translation share: texts in, written texts out, whole or as they grow. Engine process, its only thread."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from trine import frames
from trine.artifact import Manifest
from trine.engine.scheduling.call import Call
from trine.engine.tasks.draft import Choice, Draft, Scores
from trine.engine.tasks.inputs import Tokenizer
from trine.engine.text.tail import Tail, TextStream
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Sampling

DEFAULT_NEW_TOKENS = 256
MAX_LOGPROBS_TOLD = 131_072
"""Log-probabilities of one request, alternatives included: what still fits a gRPC message of 4 MiB."""
_SEEDS = 1 << 64


class MakeChoice(Protocol):
    """Parameters and a seed to the sampler's state of one sequence; runtime.sampler has it."""

    def __call__(
        self,
        sampling: Sampling,
        seed: int,
        /,
        *,
        context: Sequence[int],
        begin: int,
        end_ids: Collection[int],
        min_new_tokens: int,
        logprobs: bool,
    ) -> Choice: ...


class Detokenizer(Protocol):
    def decode(self, ids: Sequence[int], /) -> str:
        """The text of all ids together, special tokens skipped."""

    def token_text(self, token: int, /) -> str:
        """What one token adds to text before it."""

    def stream(self) -> TextStream: ...


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
        self._vocab_size = manifest.vocab_size
        self._generation = manifest.generation
        self._eos_ids = frozenset(manifest.generation.eos_ids)

    def prepare(self, request: frames.Submit, call: Call) -> list[Draft]:
        """Raises InvalidInput, naming the field, and WrongTask."""
        if not isinstance(request, frames.Generate):
            raise WrongTask("the checkpoint writes text, it does not classify", field="checkpoint")
        self._known("sampling.logit_bias", request.sampling.logit_bias)
        self._known("stop_token_ids", request.stopping.token_ids)
        encoded = self._read(request.texts)
        limits = [self._new_tokens(len(tokens), request) for tokens in encoded]
        _bound_logprobs(request.logprobs, sum(limits))
        call.stream = request.stream
        return [
            self._draft(call, index, tokens, limit, request)
            for index, (tokens, limit) in enumerate(zip(encoded, limits, strict=True))
        ]

    def tell(self, draft: Draft) -> frames.Answer | frames.Delta | None:
        """A delta when there is new text or an end, for a streamed call; else the answer when all inputs are finished."""
        if draft.failure is not None:
            raise draft.failure
        if draft.scored is not None:
            draft.logprobs.append(self._logprob(draft, draft.scored.logprobs))
        return self._delta(draft) if draft.call.stream else self._answer(draft)

    def _delta(self, draft: Draft) -> frames.Delta | None:
        """Log-probabilities wait for the next text, so that they never tell what the text withholds."""
        call = draft.call
        if not draft.text and not draft.finish:
            return None
        text, logprobs = draft.text, draft.logprobs
        draft.text, draft.logprobs = "", []
        if not draft.finish:
            return frames.Delta(call.id, draft.index, text, logprobs=logprobs)
        last = call.settle(draft.index, None)
        return frames.Delta(
            call.id, draft.index, text, draft.finish, _usage(draft), last, draft.matched, logprobs
        )

    def _answer(self, draft: Draft) -> frames.Answer | None:
        if not draft.finish:
            return None
        text = draft.text if draft.tail is not None else self._detokenizer.decode(draft.visible())
        call = draft.call
        result = frames.Generated(text, draft.finish, _usage(draft), draft.matched, draft.logprobs)
        return frames.Answer(call.id, generated=call.in_order()) if call.settle(draft.index, result) else None

    def _logprob(self, draft: Draft, scores: Scores | None) -> frames.TokenLogprob:
        """Of the newest written token. Raises Bug for logits that are no numbers."""
        if scores is None:
            raise Bug("log-probabilities were asked for and not computed")
        token, text = draft.context[-1], self._detokenizer.token_text
        logprob = scores.of(token)
        if math.isnan(logprob):
            raise Bug("the checkpoint gave no finite score for this text")
        best = [
            frames.Alternative(other, text(other), score) for other, score in scores.best(draft.alternatives)
        ]
        return frames.TokenLogprob(token, text(token), logprob, best)

    @abstractmethod
    def _read(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text. Raises InvalidInput."""

    @abstractmethod
    def _room(self, input_tokens: int) -> int:
        """The most tokens that can be written after such an input, at least 1."""

    @abstractmethod
    def _beginning(self, tokens: list[int]) -> list[int]:
        """What the decoder reads before it writes: a list of its own."""

    def _forced(self, limit: int) -> dict[int, int]:
        """Forced tokens by written place, of a text of at most `limit` tokens."""
        return {}

    def _draft(
        self, call: Call, index: int, tokens: list[int], limit: int, request: frames.Generate
    ) -> Draft:
        """The text to write after one input. It draws as if it were alone with the seed plus its index."""
        sampling, stopping = request.sampling, request.stopping
        context, stop_ids = self._beginning(tokens), frozenset(stopping.token_ids)
        choice = self._choice(
            sampling,
            (sampling.seed + index) % _SEEDS,
            context=context,
            begin=len(context),
            end_ids=self._eos_ids | stop_ids,
            min_new_tokens=stopping.min_new_tokens,
            logprobs=request.logprobs is not None,
        )
        tail = None
        if call.stream or stopping.strings:
            tail = Tail(self._detokenizer.stream(), stopping.strings, stopping.min_new_tokens)
        return Draft(
            call=call,
            index=index,
            tokens=tokens,
            context=context,
            begin=len(context),
            limit=limit,
            choice=choice,
            eos_ids=self._eos_ids,
            stop_ids=stop_ids,
            forced=self._forced(limit),
            tail=tail,
            scored=None if request.logprobs is None else choice,
            alternatives=request.logprobs or 0,
        )

    def _known(self, field: str, ids: Collection[int]) -> None:
        """Raises InvalidInput for an id beyond the vocabulary."""
        for token in ids:
            if not 0 <= token < self._vocab_size:
                raise InvalidInput(
                    f"{token} is no token: the vocabulary has the ids 0 to {self._vocab_size - 1}",
                    field=field,
                )

    def _new_tokens(self, input_tokens: int, request: frames.Generate) -> int:
        """How many tokens will be written at most. Raises InvalidInput when the wish does not fit."""
        room, wanted, least = (
            self._room(input_tokens),
            request.max_new_tokens,
            request.stopping.min_new_tokens,
        )
        limit = min(room, DEFAULT_NEW_TOKENS) if wanted is None else wanted
        if not 1 <= limit <= room:
            raise InvalidInput(
                f"max_new_tokens is {wanted}; after an input of {input_tokens} tokens it can be 1 to {room}",
                field="max_new_tokens",
            )
        if least > limit:
            raise InvalidInput(
                f"min_new_tokens is {least}, and at most {limit} tokens are written", field="min_new_tokens"
            )
        return limit


def _bound_logprobs(alternatives: int | None, new_tokens: int) -> None:
    """Raises InvalidInput where they would not fit an answer."""
    if alternatives is not None and (alternatives + 1) * new_tokens > MAX_LOGPROBS_TOLD:
        raise InvalidInput(
            f"logprobs is {alternatives}, which makes {(alternatives + 1) * new_tokens} log-probabilities for {new_tokens} "
            f"new tokens; at most {MAX_LOGPROBS_TOLD} are told",
            field="logprobs",
        )


def _usage(draft: Draft) -> frames.Usage:
    return frames.Usage(len(draft.tokens), draft.written)
