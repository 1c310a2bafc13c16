"""What one request may have told beside its texts."""

from __future__ import annotations

import pytest

from trine.engine.tasks.bounds import (
    MAX_HYPOTHESIS_TOKENS,
    MAX_LOGPROBS_TOLD,
    bound_hypotheses,
    bound_logprobs,
)
from trine.errors import InvalidInput
from trine.sampling import BeamSearch


def test_log_probabilities_count_with_their_alternatives() -> None:
    bound_logprobs(None, 10 * MAX_LOGPROBS_TOLD)
    bound_logprobs(3, MAX_LOGPROBS_TOLD // 4)
    with pytest.raises(InvalidInput) as refused:
        bound_logprobs(3, MAX_LOGPROBS_TOLD // 4 + 1)
    assert refused.value.field == "logprobs"


def test_hypotheses_count_with_all_their_tokens() -> None:
    bound_hypotheses(None, 10 * MAX_HYPOTHESIS_TOKENS)
    bound_hypotheses(BeamSearch(4), 10 * MAX_HYPOTHESIS_TOKENS)
    bound_hypotheses(BeamSearch(4, n_best=4), MAX_HYPOTHESIS_TOKENS // 4)
    with pytest.raises(InvalidInput) as refused:
        bound_hypotheses(BeamSearch(4, n_best=4), MAX_HYPOTHESIS_TOKENS // 4 + 1)
    assert refused.value.field == "beam_search.n_best"
