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
from trine.engine.tasks.passage import Part, Passage, Source
from trine.engine.text.tail import Tail, TextStream
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import Sampling

DEFAULT_NEW_TOKENS = 256
MAX_LOGPROBS_TOLD = 131_072
"""Log-probabilities of one request, alternatives included: what still fits a gRPC message of 4 MiB."""
_SEEDS = 1 << 64
_SEED_STRIDE = 0x9E37_79B9_7F4A_7C15
"""Between the seeds of the parts of one text, so that they are none of its neighbors'; 2**64 divided by the golden ratio."""


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
        # A config may name an end token that its vocabulary lacks (GPT-2's default in a small one): it never comes, and to suppress
        # it would fail the whole step.
        self._eos_ids = frozenset(
            token for token in manifest.generation.eos_ids if 0 <= token < self._vocab_size
        )

    def prepare(self, request: frames.Submit, call: Call) -> list[Part]:
        """Raises InvalidInput, naming the field, and WrongTask."""
        if not isinstance(request, frames.Generate):
            raise WrongTask("the checkpoint writes text, it does not classify", field="checkpoint")
        self._known("sampling.logit_bias", request.sampling.logit_bias)
        self._known("stop_token_ids", request.stopping.token_ids)
        sources = self._read(request)
        limits = [[self._new_tokens(len(tokens), request) for tokens in source.parts] for source in sources]
        _bound_logprobs(request.logprobs, sum(map(sum, limits)))
        call.stream = request.stream
        return [
            self._part(call, index, passage, place, limit, request)
            for index, source in enumerate(sources)
            for passage in [Passage(source, len(source.parts))]
            for place, limit in enumerate(limits[index])
        ]

    def tell(self, part: Part) -> frames.Answer | frames.Delta | None:
        """A delta when there is new text or an end, for a streamed call; else the answer when all inputs are finished."""
        if part.failure is not None:
            raise part.failure
        if part.scored is not None:
            part.logprobs.append(self._logprob(part, part.scored.logprobs))
        if part.finish:
            if part.tail is None:
                part.text = self._detokenizer.decode(part.visible())
            part.passage.end(part)
        return self._delta(part) if part.call.stream else self._answer(part)

    def _delta(self, part: Part) -> frames.Delta | None:
        call, passage = part.call, part.passage
        passage.advance()
        text, logprobs, segments = passage.text, passage.logprobs, passage.segments
        if not text and passage.unfinished:
            return None
        passage.text, passage.logprobs, passage.segments = "", [], []
        if passage.unfinished:
            return frames.Delta(call.id, part.index, text, logprobs=logprobs, segments=segments)
        last = call.settle(part.index, None)
        return frames.Delta(
            call.id,
            part.index,
            text,
            passage.finish,
            passage.usage,
            last,
            passage.matched,
            logprobs,
            segments,
        )

    def _answer(self, part: Part) -> frames.Answer | None:
        call, passage = part.call, part.passage
        if passage.unfinished:
            return None
        passage.advance()
        result = frames.Generated(
            passage.text, passage.finish, passage.usage, passage.matched, passage.logprobs, passage.segments
        )
        return frames.Answer(call.id, generated=call.in_order()) if call.settle(part.index, result) else None

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
    def _read(self, request: frames.Generate) -> list[Source]:
        """What each text is read as. Raises InvalidInput."""

    @abstractmethod
    def _room(self, input_tokens: int) -> int:
        """The most tokens that can be written after such an input, at least 1."""

    @abstractmethod
    def _beginning(self, tokens: list[int]) -> list[int]:
        """What the decoder reads before it writes: a list of its own."""

    def _forced(self, limit: int) -> dict[int, int]:
        """Forced tokens by written place, of a text of at most `limit` tokens."""
        return {}

    def _part(
        self, call: Call, index: int, passage: Passage, place: int, limit: int, request: frames.Generate
    ) -> Part:
        """One part of the text of one input, which draws as if it were alone with the seed plus its index."""
        sampling, stopping = request.sampling, request.stopping
        tokens = passage.source.parts[place]
        context, stop_ids = self._beginning(tokens), frozenset(stopping.token_ids)
        choice = self._choice(
            sampling,
            (sampling.seed + index + place * _SEED_STRIDE) % _SEEDS,
            context=context,
            begin=len(context),
            end_ids=self._eos_ids | stop_ids,
            min_new_tokens=stopping.min_new_tokens,
            logprobs=request.logprobs is not None,
        )
        tail = None
        if call.stream or stopping.strings:
            tail = Tail(self._detokenizer.stream(), stopping.strings, stopping.min_new_tokens)
        part = Part(
            passage=passage,
            place=place,
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
        passage.add(part)
        return part

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
