"""What generation and translation share: texts in, written texts out, whole or as they grow. Engine process, its only thread."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from trine import frames
from trine.artifact import Manifest
from trine.engine.runtime.beam import BeamChoice, Hypothesis
from trine.engine.scheduling.call import Call
from trine.engine.tasks.bounds import bound_hypotheses, bound_logprobs
from trine.engine.tasks.draft import Choice, Draft, Scores
from trine.engine.tasks.inputs import Tokenizer
from trine.engine.tasks.passage import Part, Passage, Source
from trine.engine.text.tail import Tail, TextStream
from trine.errors import Bug, InvalidInput, WrongTask
from trine.sampling import MAX_BEAMS, BeamSearch, Decoding, Sampling

DEFAULT_NEW_TOKENS = 256
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

    most_beams = MAX_BEAMS
    """Of one beam search: as many as the engine has rows of cache, which is told where the engine is put together."""

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
        self._known("sampling.logit_bias", request.decoding.sampling.logit_bias)
        self._known("stop_token_ids", request.decoding.stopping.token_ids)
        self._bound_beams(request.decoding.beam_search)
        sources = self._read(request)
        limits = [[self._new_tokens(len(tokens), request) for tokens in source.parts] for source in sources]
        bound_logprobs(request.decoding.logprobs, sum(map(sum, limits)))
        bound_hypotheses(request.decoding.beam_search, sum(map(sum, limits)))
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
            if part.search is not None:
                part.hypotheses = [self._hypothesis(part, found) for found in part.search.n_best]
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
            passage.hypotheses,
        )

    def _answer(self, part: Part) -> frames.Answer | None:
        call, passage = part.call, part.passage
        if passage.unfinished:
            return None
        passage.advance()
        result = frames.Generated(
            passage.text,
            passage.finish,
            passage.usage,
            passage.matched,
            passage.logprobs,
            passage.segments,
            passage.hypotheses,
        )
        return frames.Answer(call.id, generated=call.in_order()) if call.settle(part.index, result) else None

    def _hypothesis(self, part: Part, found: Hypothesis) -> frames.Hypothesis:
        text = self._detokenizer.decode(part.without_end(found.tokens, found.matched))
        return frames.Hypothesis(text, found.score, found.finish, len(found.tokens), found.matched)

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
    def _beginning(self, source: Source, tokens: list[int]) -> list[int]:
        """What the decoder reads before it writes: a list of its own."""

    def _forced(self, source: Source, limit: int) -> dict[int, int]:
        """Forced tokens by written place, of a text of at most `limit` tokens."""
        return {}

    def _part(
        self, call: Call, index: int, passage: Passage, place: int, limit: int, request: frames.Generate
    ) -> Part:
        """One part of the text of one input, which draws as if it were alone with the seed plus its index."""
        decoding, tokens = request.decoding, passage.source.parts[place]
        context = self._beginning(passage.source, tokens)
        part = Part(
            passage=passage,
            place=place,
            call=call,
            index=index,
            tokens=tokens,
            context=context,
            begin=len(context),
            limit=limit,
            eos_ids=self._eos_ids,
            stop_ids=frozenset(decoding.stopping.token_ids),
            forced=self._forced(passage.source, limit),
        )
        if decoding.beam_search is None:
            self._draw(part, decoding)
        else:
            self._search(part, decoding, decoding.beam_search)
        passage.add(part)
        return part

    def _draw(self, part: Part, decoding: Decoding) -> None:
        """Have it written token by token."""
        sampling, stopping = decoding.sampling, decoding.stopping
        part.choice = choice = self._choice(
            sampling,
            (sampling.seed + part.index + part.place * _SEED_STRIDE) % _SEEDS,
            context=part.context,
            begin=part.begin,
            end_ids=part.eos_ids | part.stop_ids,
            min_new_tokens=stopping.min_new_tokens,
            logprobs=decoding.logprobs is not None,
        )
        if decoding.logprobs is not None:
            part.scored, part.alternatives = choice, decoding.logprobs
        if part.call.stream or stopping.strings:
            part.tail = Tail(self._detokenizer.stream(), stopping.strings, stopping.min_new_tokens)

    def _search(self, part: Part, decoding: Decoding, search: BeamSearch) -> None:
        """Have it found among several."""
        part.width = search.beams
        part.choice = part.search = BeamChoice(
            search,
            decoding.sampling,
            read=part.context,
            limit=part.limit,
            eos_ids=part.eos_ids,
            stop_ids=part.stop_ids,
            forced=part.forced,
            min_new_tokens=decoding.stopping.min_new_tokens,
        )

    def _known(self, field: str, ids: Collection[int]) -> None:
        """Raises InvalidInput for an id beyond the vocabulary."""
        for token in ids:
            if not 0 <= token < self._vocab_size:
                raise InvalidInput(
                    f"{token} is no token: the vocabulary has the ids 0 to {self._vocab_size - 1}",
                    field=field,
                )

    def _bound_beams(self, search: BeamSearch | None) -> None:
        """Raises InvalidInput for more than can run at once."""
        if search is not None and search.beams > self.most_beams:
            raise InvalidInput(
                f"beams is {search.beams}; the engine has room for {self.most_beams} at once",
                field="beam_search.beams",
            )

    def _new_tokens(self, input_tokens: int, request: frames.Generate) -> int:
        """How many tokens will be written at most. Raises InvalidInput when the wish does not fit."""
        room, wanted, least = (
            self._room(input_tokens),
            request.decoding.max_new_tokens,
            request.decoding.stopping.min_new_tokens,
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
