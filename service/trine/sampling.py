"""How the next token of one generation is chosen, and when the generation ends. Frozen parameters, any process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from trine.errors import InvalidInput

MAX_TEMPERATURE = 10.0
MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.1, 10.0
MAX_PENALTY = 2.0
MAX_BIAS = 100.0
MAX_BIASES = 1024
MAX_NGRAM_SIZE = 64
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_STOP_TOKENS = 64
MAX_LOGPROBS = 20
MAX_BEAMS = 16
MAX_LENGTH_PENALTY = 10.0

EarlyStopping = Literal["heuristic", "first", "never"]


class Sampling(msgspec.Struct, array_like=True, frozen=True):
    """One request's sampling parameters; the defaults mean greedy search.

    "Read" are the tokens that the decoder begins with: the prompt, or the encoder-decoder family's start token.
    """

    temperature: float = 0.0
    """0 means greedy."""
    top_p: float = 1.0
    """Keep the smallest set of best tokens whose probabilities sum to at least this; (0, 1]."""
    top_k: int = 0
    """Keep this many best tokens; 0 keeps all."""
    seed: int = 0
    """64-bit seed. Input i of a batch draws as if it were alone with seed + i (modulo 2**64)."""
    min_p: float = 0.0
    """Keep tokens at least this share as probable as the best one; [0, 1]."""
    repetition_penalty: float = 1.0
    """Divides the positive logits, and multiplies the negative ones, of tokens read or written; [MIN, MAX]."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens written; [-MAX, MAX]."""
    frequency_penalty: float = 0.0
    """Subtracted from a token's logit for each time that it was written; [-MAX, MAX]."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens is read or written twice; 0 allows all."""
    logit_bias: Mapping[int, float] = {}
    """Token id to what is added to its logit."""

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def processes(self) -> bool:
        """Whether logits are changed before one is chosen, by greedy search too."""
        return (
            bool(self.logit_bias)
            or self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
            or self.no_repeat_ngram_size > 0
        )

    def validate(self, field: str = "sampling") -> None:
        """Raise InvalidInput that names the field. Token ids are checked where the vocabulary is known."""
        _within(f"{field}.temperature", self.temperature, 0, MAX_TEMPERATURE)
        if not 0 < self.top_p <= 1:
            raise InvalidInput("top_p must be above 0 and at most 1", field=f"{field}.top_p")
        if self.top_k < 0:
            raise InvalidInput("top_k must not be negative", field=f"{field}.top_k")
        _within(f"{field}.min_p", self.min_p, 0, 1)
        _within(
            f"{field}.repetition_penalty",
            self.repetition_penalty,
            MIN_REPETITION_PENALTY,
            MAX_REPETITION_PENALTY,
        )
        _within(f"{field}.presence_penalty", self.presence_penalty, -MAX_PENALTY, MAX_PENALTY)
        _within(f"{field}.frequency_penalty", self.frequency_penalty, -MAX_PENALTY, MAX_PENALTY)
        _within(f"{field}.no_repeat_ngram_size", self.no_repeat_ngram_size, 0, MAX_NGRAM_SIZE)
        _at_most(f"{field}.logit_bias", len(self.logit_bias), MAX_BIASES, "ids")
        for token, bias in self.logit_bias.items():
            _within(f"{field}.logit_bias", bias, -MAX_BIAS, MAX_BIAS, f"the bias of token {token}")


class Stopping(msgspec.Struct, array_like=True, frozen=True):
    """When one request's texts end, beside the checkpoint's own end tokens and the limit on new tokens."""

    min_new_tokens: int = 0
    """Until so many tokens are written, no end token is chosen and no stop string counts."""
    strings: tuple[str, ...] = ()
    """Texts that end the answer before them."""
    token_ids: tuple[int, ...] = ()
    """Tokens that end the answer before them."""

    def validate(self) -> None:
        """Raise InvalidInput that names the field. Token ids are checked where the vocabulary is known."""
        _at_most("stop", len(self.strings), MAX_STOPS, "stop strings")
        for index, text in enumerate(self.strings):
            if not 1 <= len(text) <= MAX_STOP_CHARACTERS:
                raise InvalidInput(
                    f"a stop string has 1 to {MAX_STOP_CHARACTERS} characters", field=f"stop[{index}]"
                )
        _at_most("stop_token_ids", len(self.token_ids), MAX_STOP_TOKENS, "ids")


class BeamSearch(msgspec.Struct, array_like=True, frozen=True):
    """Search for the text with the best score instead of taking the best token each time.

    A text's score is the sum of its log-probabilities, divided by its number of written tokens to the power of `length_penalty`.
    """

    beams: int
    """Texts that are followed at once; [2, MAX_BEAMS]."""
    length_penalty: float = 1.0
    """Above 0 favors long texts, below 0 short ones; [-MAX, MAX]."""
    early_stopping: EarlyStopping = "heuristic"
    """When `beams` texts are finished: end at once ("first"), when a better one is unlikely, or when it is impossible ("never").

    transformers' True, False and "never".
    """
    n_best: int = 1
    """How many finished texts are told."""

    def validate(self, field: str = "beam_search") -> None:
        """Raise InvalidInput that names the field."""
        _within(f"{field}.beams", self.beams, 2, MAX_BEAMS)
        _within(f"{field}.length_penalty", self.length_penalty, -MAX_LENGTH_PENALTY, MAX_LENGTH_PENALTY)
        if not 1 <= self.n_best <= self.beams:
            raise InvalidInput("n_best must be at least 1 and at most beams", field=f"{field}.n_best")


class Decoding(msgspec.Struct, array_like=True, frozen=True):
    """How a request's texts are written: all that generation, translation and summarization have in common."""

    sampling: Sampling = Sampling()
    stopping: Stopping = Stopping()
    max_new_tokens: int | None = None
    """At least 1; None: what fits, at most 256."""
    logprobs: int | None = None
    """Alternatives to tell with each token's log-probability; None: no log-probabilities."""
    beam_search: BeamSearch | None = None
    """None: one text is followed, greedily or by drawing."""

    def validate(self) -> None:
        """Raise InvalidInput that names the field. What depends on the checkpoint is checked where that is known."""
        self.sampling.validate()
        self.stopping.validate()
        if self.max_new_tokens is not None:
            self._validate_new_tokens(self.max_new_tokens)
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise InvalidInput(f"logprobs must be at most {MAX_LOGPROBS}", field="logprobs")
        if self.beam_search is not None:
            self.beam_search.validate()
            self._validate_with_beams()

    def _validate_new_tokens(self, limit: int) -> None:
        if limit < 1:
            raise InvalidInput("max_new_tokens must be at least 1", field="max_new_tokens")
        if self.stopping.min_new_tokens > limit:
            raise InvalidInput("min_new_tokens must be at most max_new_tokens", field="min_new_tokens")

    def _validate_with_beams(self) -> None:
        if not self.sampling.greedy:
            raise InvalidInput(
                "beam search draws nothing: temperature must be 0", field="sampling.temperature"
            )
        if self.stopping.strings:
            raise InvalidInput("beam search knows no stop strings; stop_token_ids it does", field="stop")
        if self.logprobs is not None:
            raise InvalidInput("beam search tells scores instead of log-probabilities", field="logprobs")


def _within(field: str, value: float, least: float, most: float, name: str = "") -> None:
    """NaN fails every comparison, hence the positive form."""
    if not least <= value <= most:
        name = name or field.rpartition(".")[2]
        raise InvalidInput(f"{name} must be between {least:g} and {most:g}", field=field)


def _at_most(field: str, count: int, most: int, noun: str) -> None:
    if count > most:
        raise InvalidInput(f"there are {count} {noun}, and at most {most} are allowed", field=field)
