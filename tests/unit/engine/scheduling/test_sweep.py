"""The sweep, on a clock that runs as fast as the stand-in says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trine.engine.scheduling.pace import LEAST, Pace
from trine.engine.scheduling.sweep import sweep


class Timed:
    """An encoder whose runs take `fixed` seconds and `each` for a token; every first try takes ten times as long."""

    def __init__(self, fixed: float, each: float) -> None:
        self.now = 0.0
        self.runs: list[int] = []
        self._fixed, self._each = fixed, each

    def run(
        self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None
    ) -> list[None]:
        assert all(1 <= len(tokens) <= 48 and set(tokens) == {7} for tokens in sequences)
        tokens = sum(map(len, sequences))
        slow = 1 if tokens in self.runs else 10
        self.runs.append(tokens)
        self.now += slow * (self._fixed + self._each * tokens)
        return [None] * len(sequences)

    def clock(self) -> float:
        return self.now


def budget(encoder: Timed, most: int = 2048, seconds: float = 0.1) -> int:
    return Pace(most, seconds, sweep(encoder, 7, 48, most, seconds, encoder.clock)).budget


def test_a_quick_encoder_gets_all() -> None:
    encoder = Timed(0.001, 1e-5)
    assert budget(encoder) == 2048
    assert max(encoder.runs) == 2048


@pytest.mark.parametrize("each", [1e-4, 2e-4, 9e-4])
def test_a_batch_lasts_about_as_long_as_it_should(each: float) -> None:
    encoder = Timed(0.0, each)
    assert 0.09 < each * budget(encoder) <= 0.1
    assert max(encoder.runs) < 4 * budget(encoder), "no run is much longer than what is looked for"


def test_a_fixed_cost_makes_no_batch_longer() -> None:
    encoder = Timed(0.01, 2e-4)
    assert 0.09 < 0.01 + 2e-4 * budget(encoder) <= 0.1


def test_no_batch_is_too_small_to_be_worth_it() -> None:
    assert budget(Timed(1.0, 0.01)) == LEAST
    assert budget(Timed(1.0, 0.01), most=16) == 16


def test_the_points_are_the_quicker_tries() -> None:
    encoder = Timed(0.01, 1e-3)
    points = sweep(encoder, 7, 48, 2048, 0.1, encoder.clock)
    assert [tokens for tokens, _ in points] == [8, 16, 32, 64, 128]
    assert [seconds for _, seconds in points] == pytest.approx([0.018, 0.026, 0.042, 0.074, 0.138])


def test_what_something_came_between_is_tried_again() -> None:
    class Disturbed(Timed):
        """Three runs in a row of 32 tokens take a second more."""

        def run(
            self, sequences: Sequence[Sequence[int]], types: Sequence[Sequence[int] | None] | None = None
        ) -> list[None]:
            outputs = super().run(sequences, types)
            self.now += self.runs[-1] == 32 and self.runs.count(32) <= 3
            return outputs

    encoder = Disturbed(0.01, 1e-3)
    points = sweep(encoder, 7, 48, 64, 0.1, encoder.clock)
    assert [seconds for _, seconds in points] == pytest.approx([0.018, 0.026, 0.042, 0.074])
    assert [encoder.runs.count(tokens) for tokens in (8, 16, 32, 64)] == [2, 2, 4, 2]
