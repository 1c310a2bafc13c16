"""How much one request may have told beside its texts, so that the answer fits a message. Engine process, its only thread."""

from __future__ import annotations

from trine.errors import InvalidInput
from trine.sampling import BeamSearch

MAX_LOGPROBS_TOLD = 131_072
"""Log-probabilities of one request, alternatives included: what still fits a gRPC message of 4 MiB."""
MAX_HYPOTHESIS_TOKENS = 524_288
"""Tokens of all n-best texts of one request: likewise."""


def bound_logprobs(alternatives: int | None, new_tokens: int) -> None:
    """Raises InvalidInput where `new_tokens`, of all inputs, make more than an answer holds."""
    if alternatives is not None and (alternatives + 1) * new_tokens > MAX_LOGPROBS_TOLD:
        raise InvalidInput(
            f"logprobs is {alternatives}, which makes {(alternatives + 1) * new_tokens} log-probabilities for {new_tokens} "
            f"new tokens; at most {MAX_LOGPROBS_TOLD} are told",
            field="logprobs",
        )


def bound_hypotheses(search: BeamSearch | None, new_tokens: int) -> None:
    """Raises InvalidInput where `new_tokens`, of all inputs, make more than an answer holds."""
    if search is not None and search.n_best > 1 and search.n_best * new_tokens > MAX_HYPOTHESIS_TOKENS:
        raise InvalidInput(
            f"n_best is {search.n_best}, which makes up to {search.n_best * new_tokens} tokens; "
            f"at most {MAX_HYPOTHESIS_TOKENS} are told",
            field="beam_search.n_best",
        )
