"""How much runs in one step: pure arithmetic over token counts, without clocks, queues or runners.

Two costs are bounded. The linear layers compute every token of a step: `budget` tokens at most. Attention alone is padded, every
row to the longest one: at most `PADDING` times the budget, else one long input among many short ones would cost more memory than
all weights together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PADDING = 2
SMALLEST_CHUNK = 16


@dataclass(slots=True)
class Room:
    """What is left of one batch of whole inputs."""

    budget: int
    count: int = 0
    tokens: int = 0
    longest: int = 0

    def take(self, length: int) -> bool:
        """Whether one more input of `length` tokens fits; it is counted then.

        The first one always fits: whatever waits can run.
        """
        tokens, longest = self.tokens + length, max(self.longest, length)
        padded = (self.count + 1) * longest
        if self.count and (tokens > self.budget or padded > PADDING * self.budget):
            return False
        self.count, self.tokens, self.longest = self.count + 1, tokens, longest
        return True


def chunk_size(max_chunk: int, slots: int, budget: int) -> int:
    """Most tokens of one prompt in one step, fixed for an engine: what keeps full rows within the padding, at least 16.

    `max_chunk` is what the cache allows. Raises ValueError below 3: such a chunk cannot avoid leaving a single token.
    """
    if max_chunk < 3:
        raise ValueError("a chunk holds at least 3 tokens")
    return min(max_chunk, max(SMALLEST_CHUNK, PADDING * budget // slots))


def next_chunk(remaining: int, size: int) -> int:
    """Tokens of a prompt's next chunk, of `remaining` that have not run.

    It depends on the prompt alone, never on what runs beside it, so that its keys and values are the same bits in any company.
    A single token is never left over: attention takes another kernel for one token than for several
    (docs/decisions/0002).
    """
    if remaining <= size:
        return remaining
    return size - 1 if remaining - size == 1 else size


def plan_mixed_step(remaining: Sequence[int], budget: int, size: int) -> list[int]:
    """Tokens that each sequence runs in a step; 0 leaves it idle.

    `remaining` has what each sequence must run before its next token, in order of admission: 1 while it decodes. Every decode
    runs, so that no stream stalls; then whole chunks of prompts while they fit the budget. The oldest prompt's chunk runs even
    where it does not, so that no prompt waits for ever behind many decodes.
    """
    plan = [1 if left == 1 else 0 for left in remaining]
    room = budget - sum(plan)
    oldest = True
    for index, left in enumerate(remaining):
        if left == 1:
            continue
        chunk = next_chunk(left, size)
        if oldest or chunk <= room:
            plan[index] = chunk
            room -= chunk
        oldest = False
    return plan
