"""Generations walked through a runner, in rows that are shared, joined late and compacted, as an engine does. Export process.

The parity gate's half of the proof that the artifact answers in company as it answers alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact, Family, Generation, Target
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.device import Device
from trine.engine.runtime.paged_decoder import PagedDecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.export.reference import Logits
from trine.sampling import Sampling

Runner = DecoderRunner | PagedDecoderRunner | Seq2SeqRunner

GROUP = 8
"""Sequences that are walked together, and rows of the runners here."""
CHUNK = 48
"""Prompt tokens of one step here; the long probes take several."""


def open_runner(artifact: Artifact, threads: int, device: Device | None = None) -> Runner:
    if artifact.manifest.target is Target.CUDA:
        return PagedDecoderRunner(artifact, threads, slots=GROUP, device=device)
    runner = DecoderRunner if artifact.manifest.family is Family.DECODER else Seq2SeqRunner
    return runner(artifact, threads, slots=GROUP)


def cut(ids: list[int], length: int, *, keep_end: bool) -> list[int]:
    """At most `length` tokens; `keep_end`: the token that ends the input stays, as what is served has it."""
    if len(ids) <= length:
        return ids
    return [*ids[: length - 1], ids[-1]] if keep_end else ids[:length]


@dataclass(frozen=True, slots=True)
class Chunk:
    row: int
    tokens: Sequence[int]
    past: int
    choice: object | None


@dataclass(slots=True)
class Walk:
    """One sequence: what it begins with, and what it has been answered."""

    source: Sequence[int]
    """The ids that were given: the prompt, or an encoder-decoder's source."""
    context: list[int]
    """What the decoder reads: the prompt or the start token, then what follows."""
    steps: int
    """How many answers are wanted."""
    path: Sequence[int] | None = None
    """The tokens to follow; None: those that are chosen."""
    answers: list[Any] = field(default_factory=list)
    past: int = 0
    finished: bool = False

    def chunk(self, row: int, size: int) -> Chunk:
        """The next tokens, at most `size`; never leaves one token of a prompt over (docs/decisions/0002)."""
        left = len(self.context) - self.past
        taken = min(left, size)
        if left - taken == 1 and taken > 2:
            taken -= 1
        choice = Choice(Sampling(), 0) if taken == left else None
        return Chunk(row, self.context[self.past : self.past + taken], self.past, choice)

    def take(self, answer: Any, generation: Generation, forced: int | None) -> None:
        token = answer if self.path is None else self.path[len(self.answers)]
        token = token if forced is None else forced
        self.answers.append(token if self.path is None else answer)
        self.context.append(int(token))
        ended = self.path is None and token in generation.eos_ids
        self.finished = ended or len(self.answers) == self.steps


class Walker:
    def __init__(self, runner: Runner, generation: Generation, max_context: int) -> None:
        """`max_context`: tokens of the decoder's context, at whose end an encoder-decoder may force a token."""
        self.runner = runner
        self._generation = generation
        self.max_context = max_context

    @classmethod
    def of(cls, artifact: Artifact, threads: int, device: Device | None = None) -> Walker:
        """A walker with a runner of its own; `device`: which one of the artifact's target."""
        manifest = artifact.manifest
        assert manifest.generation is not None
        runner = open_runner(artifact, threads, device)
        limits = manifest.limits
        return cls(
            runner, manifest.generation, limits.max_input_tokens if runner.mixed else limits.max_output_tokens
        )

    def room(self, ids: Sequence[int]) -> int:
        """New tokens that fit after `ids`."""
        return self.max_context - (len(ids) if self.runner.mixed else 1)

    def begin(self, ids: Sequence[int], steps: int, path: Sequence[int] | None = None) -> Walk:
        start = self._generation.start_id
        return Walk(ids, list(ids) if self.runner.mixed else [int(start or 0)], steps, path)

    def logits(self, walks: Sequence[Walk], rows: int, size: int) -> list[Logits]:
        """Along each walk's path, the logits [steps, vocab] from which its tokens are chosen."""
        self._run(walks, rows, size, lambda chunks: list(self.runner.logits(chunks)))
        return [np.stack(walk.answers) for walk in walks]

    def greedy(self, walks: Sequence[Walk], rows: int, size: int) -> list[list[int]]:
        """The tokens that the serving step itself chooses."""
        self._run(walks, rows, size, self.runner.step)
        return [walk.answers for walk in walks]

    def best(self, logits: Logits) -> NDArray[np.int64]:
        """The best token of each row, those that are never chosen left out."""
        allowed = logits.copy()
        allowed[:, list(self._generation.suppressed_ids)] = -np.inf
        best: NDArray[np.int64] = allowed.argmax(axis=-1)
        return best

    def _run(
        self, walks: Iterable[Walk], rows: int, size: int, answer: Callable[[list[Chunk]], Sequence[Any]]
    ) -> None:
        waiting, active = deque(walks), list[Walk]()
        size = min(size, self.runner.max_chunk)
        while waiting or active:
            self._join(waiting, active, rows)
            chunks = [walk.chunk(row, size) for row, walk in enumerate(active)]
            answers: Iterator[Any] = iter(answer(chunks))
            for walk, chunk in zip(active, chunks, strict=True):
                walk.past += len(chunk.tokens)
                if chunk.choice is not None:
                    walk.take(next(answers), self._generation, self._forced(walk))
            self._compact(active)

    def _join(self, waiting: deque[Walk], active: list[Walk], rows: int) -> None:
        first = len(active)
        while waiting and len(active) < rows:
            active.append(waiting.popleft())
        if not self.runner.mixed and len(active) > first:
            self.runner.insert([(row, active[row].source) for row in range(first, len(active))])

    def _forced(self, walk: Walk) -> int | None:
        if not self.runner.mixed and len(walk.context) == 1 and self._generation.forced_first_id is not None:
            return self._generation.forced_first_id
        if len(walk.context) == self.max_context - 1:
            return self._generation.forced_last_id
        return None

    def _compact(self, active: list[Walk]) -> None:
        """Move the last row into the place of each finished one: active rows are always 0..N-1."""
        for row in reversed(range(len(active))):
            if active[row].finished:
                last = active.pop()
                if row < len(active):
                    active[row] = last
                    self.runner.move(len(active), row)
