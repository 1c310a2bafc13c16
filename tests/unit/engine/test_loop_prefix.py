"""The prefix cache as callers and metrics see it, over the stand-in runner: chunks of 8 tokens."""

from __future__ import annotations

import pytest

from tests.unit.engine.loop_front import Front, letters
from tests.unit.engine.scheduling.stand_ins import alone
from trine import frames

HEAD = [3, 1, 4, 1, 5, 9, 2, 6] * 2


def ask(front: Front, number: int, *tails: list[int], stream: bool = False) -> list[frames.Usage]:
    """Send prompts that continue HEAD; their usages. The texts are those without a cache."""
    prompts = [[*HEAD, *tail] for tail in tails]
    texts = [" ".join(map(str, prompt)) for prompt in prompts]
    front.generate(number, *texts, limit=4, stream=stream)
    front.settle()
    assert front.texts(number) == [letters(alone(prompt, 4)[0]) for prompt in prompts]
    if not stream:
        return [result.usage for result in front.closed[number].generated]
    usages = [front.ends[number, index].usage for index in range(len(tails))]
    return [usage for usage in usages if usage is not None]


@pytest.mark.parametrize("stream", [False, True])
def test_usage_tells_what_was_cached(stream: bool) -> None:
    front = Front(prefix_cache_bytes=10_000)
    (first,) = ask(front, 1, [7, 7], stream=stream)
    assert (first.input_tokens, first.cached_tokens) == (18, 0)
    second, third = ask(front, 2, [8, 8, 8], [9] * 9, stream=stream)
    assert (second.input_tokens, second.cached_tokens) == (19, 16)
    assert (third.input_tokens, third.cached_tokens) == (25, 16)
    assert sum(observed.prefix_hit_tokens for observed in front.observed) == 32
    assert sum(observed.prefix_lookup_tokens for observed in front.observed) == 18 + 19 + 25
    assert front.observed[-1].prefix_bytes > 0
    front.close()


def test_switched_off_nothing_is_cached() -> None:
    front = Front(prefix_cache_bytes=0)
    for number in (1, 2):
        assert [usage.cached_tokens for usage in ask(front, number, [7, 7])] == [0]
    assert not any(observed.prefix_lookup_tokens for observed in front.observed)
    front.close()


def test_a_prompt_on_which_the_runner_fails_is_not_kept() -> None:
    front = Front(prefix_cache_bytes=10_000)
    front.generate(1, " ".join(map(str, [*HEAD[:7], 666, *HEAD])), limit=4)
    front.settle()
    assert isinstance(front.closed[1], frames.Failed)
    assert front.runner.blocks == {}
    front.close()


def test_a_beginning_that_cannot_be_copied_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is written all the same, and the next one computes it anew."""
    front = Front(prefix_cache_bytes=10_000)

    def fails(block: int, row: int, begin: int, length: int) -> None:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(front.runner, "save", fails)
        assert [usage.cached_tokens for usage in ask(front, 1, [7, 7])] == [0]
    assert [usage.cached_tokens for usage in ask(front, 2, [7, 7])] == [0]
    assert next(usage.cached_tokens for usage in ask(front, 3, [7, 7])) > 0
    front.close()
