"""Up to 64 calls join and leave an engine at random, some cancelled, some late: the others write what they write alone.

The loop over the real runners and tiny graphs, the prefix cache on. At the end no row, no id, no block and no object is left.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence as Many
from typing import Any

import msgspec
import pytest

from tests.unit.engine.loop_front import Front
from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import VOCAB, Weights
from tests.unit.engine.scheduling.stand_ins import AlphabetDetokenizer, NumberTokenizer
from trine import frames
from trine.artifact import Artifact, Family, Limits
from trine.engine.loop import Loop
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.continuous import DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.sequence import Sequence
from trine.engine.tasks.generation import Generation
from trine.engine.tasks.translation import Translation
from trine.sampling import BeamSearch, Decoding, Sampling, Stopping

SLOTS, MAX_CHUNK, BUDGET = 64, 5, 96
BLOCKS = 12
REQUESTS = 300
LIMITS = {Family.DECODER: Limits(40), Family.ENCODER_DECODER: Limits(12, 16)}
PROMPT = {Family.DECODER: 22, Family.ENCODER_DECODER: 10}
"""Most tokens of a prompt or source."""

Outcome = list[tuple[Any, ...]]
"""Of each input: text, finish, what matched, log-probabilities, hypotheses, segments, and tokens in and out."""


class Sentences(NumberTokenizer):
    """Numbers; that a sentence is over is no token."""

    def encode(self, texts: Many[str], *, add_special_tokens: bool = True) -> list[list[int]]:
        return super().encode(
            [text.replace("!", "") for text in texts], add_special_tokens=add_special_tokens
        )


class Engine(Front):
    """The loop that serves an artifact, and the front's end of its socket."""

    def __init__(self, artifact: Artifact, slots: int, blocks: int) -> None:
        super().__init__()
        manifest, texts = artifact.manifest, (Sentences(), AlphabetDetokenizer())
        task: Any
        if manifest.family is Family.DECODER:
            self.runner = DecoderRunner(artifact, 1, slots, MAX_CHUNK)
            self.limit = blocks * self.runner.block_bytes(MAX_CHUNK)
            self.scheduler = DecoderBatcher(self.runner, BUDGET, self._meter, self.limit)
            task = Generation(manifest, *texts, Choice)
        else:
            self.limit = 0
            self.runner = Seq2SeqRunner(artifact, 1, slots)
            self.scheduler = EncoderDecoderBatcher(self.runner, BUDGET, self._meter)
            task = Translation(manifest, *texts, Choice)
        self.loop = Loop(self.theirs, task, self.scheduler, self._meter, self.clock)
        self.parts: dict[tuple[int, int], list[frames.Delta]] = {}

    def turn(self) -> None:
        """Each step takes a second."""
        super().turn()
        self.clock.now += 1

    def _delta(self, delta: frames.Delta) -> None:
        self.parts.setdefault((delta.id, delta.input_index), []).append(delta)
        super()._delta(delta)

    def outcome(self, number: int) -> Outcome | None:
        """None for a call that was not answered."""
        closing = self.closed[number]
        if isinstance(closing, frames.Answer):
            return [_told(result, result.text, [result]) for result in closing.generated]
        if not isinstance(closing, frames.Delta):
            return None
        inputs = sorted(key for key in self.parts if key[0] == number)
        streams = [self.parts[key] for key in inputs]
        return [_told(deltas[-1], "".join(delta.text for delta in deltas), deltas) for deltas in streams]


def _told(last: Any, text: str, parts: list[Any]) -> tuple[Any, ...]:
    usage = last.usage
    return (
        text,
        last.finish,
        last.matched,
        [entry for part in parts for entry in part.logprobs],
        last.hypotheses,
        [segment for part in parts for segment in part.segments],
        (usage.input_tokens, usage.output_tokens),
    )


def request(family: Family, number: int) -> frames.Generate:
    """The same for the same number: one to three texts, every way to write, a few common beginnings."""
    draw = random.Random(f"{family} {number}")
    heads = [[1 + (7 * head + place * place) % (VOCAB - 1) for place in range(20)] for head in range(4)]
    texts = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        head = draw.choice(heads)[: draw.randrange(PROMPT[family] - 1)]
        tail = [draw.randrange(1, VOCAB) for _ in range(draw.randint(1, PROMPT[family] - len(head)))]
        numbers = [str(token) for token in (*head, *tail)]
        if family is Family.ENCODER_DECODER:  # which writes each sentence on its own
            numbers = [number + draw.choice(["", "", "", "!"]) for number in numbers]
        texts.append(" ".join(numbers))
    limit = draw.randint(1, 14)
    return frames.Generate(
        0,
        texts,
        1e9,
        draw.choice([1, 2, 2, 3]),
        draw.choice("abcd"),
        _decoding(draw, limit),
        draw.random() < 0.5,
    )


def _decoding(draw: random.Random, limit: int) -> Decoding:
    seed = draw.randrange(1000)
    match draw.randrange(6):
        case 0:
            return Decoding(max_new_tokens=limit)
        case 1:
            return Decoding(Sampling(1.0, 0.9, 10, seed=seed), max_new_tokens=limit, logprobs=2)
        case 2:
            controls = Sampling(0.8, seed=seed, repetition_penalty=1.3, frequency_penalty=0.4, min_p=0.01)
            return Decoding(controls, max_new_tokens=limit)
        case 3:
            return Decoding(
                Sampling(1.2, seed=seed),
                Stopping(strings=("fg", "h"), token_ids=(draw.randrange(1, VOCAB),)),
                limit,
                0,
            )
        case 4:
            return Decoding(Sampling(no_repeat_ngram_size=2), max_new_tokens=limit, logprobs=1)
        case _:
            beams = draw.randint(2, 4)
            return Decoding(
                max_new_tokens=limit, beam_search=BeamSearch(beams, n_best=draw.randint(1, beams))
            )


class Storm:
    """Calls come at random while there are fewer than 64; one in ten is cancelled, one in ten has too little time."""

    def __init__(self, engine: Engine, family: Family, seed: int) -> None:
        self.engine = engine
        self._family = family
        self._draw = random.Random(seed)
        self._cancel_at: dict[int, float] = {}
        self.asked: dict[int, int] = {}
        """Id to the number of its request."""

    def step(self) -> None:
        engine, draw, now = self.engine, self._draw, self.engine.clock.now
        for _ in range(draw.choice([0, 0, 1, 2, 5, 20])):
            if len(engine.open) < 64:
                self._submit()
        leaving = [number for number, at in self._cancel_at.items() if at <= now]
        for number in leaving:
            del self._cancel_at[number]
            if number in engine.open:
                engine.send(frames.Cancel(number))
        if engine.open:  # else the loop would wait for a message
            engine.turn()

    def _submit(self) -> None:
        draw, now = self._draw, self.engine.clock.now
        number, of = len(self.asked) + 1, draw.randrange(REQUESTS)
        self.asked[number] = of
        fate = draw.randrange(10)
        deadline = now + draw.randrange(12) if fate == 0 else 1e9
        if fate == 1:
            self._cancel_at[number] = now + draw.randrange(12)
        made = request(self._family, of)
        self.engine.send(msgspec.structs.replace(made, id=number, deadline=deadline))


def alone(artifact: Artifact, family: Family) -> list[Outcome]:
    """What each request is answered in an engine without others, row by row anew and without a prefix cache."""
    engine, outcomes = Engine(artifact, 4, 0), []
    for number in range(REQUESTS):
        engine.send(msgspec.structs.replace(request(family, number), id=number))
        engine.settle()
        outcome = engine.outcome(number)
        assert outcome is not None, engine.closed[number]
        outcomes.append(outcome)
    engine.close()
    return outcomes


def nothing_is_left(engine: Engine) -> None:
    scheduler = engine.scheduler
    assert (scheduler.waiting, scheduler.running, scheduler.cache_used) == (0, 0, 0.0)
    assert engine.loop._calls == {}
    assert max(observed.prefix_bytes for observed in engine.observed) <= engine.limit


def sequences_alive() -> int:
    """In the whole process: a failed test before this one may hold some."""
    gc.collect()
    # by type, since some objects of other libraries answer isinstance with a warning
    return sum(issubclass(type(thing), Sequence) for thing in gc.get_objects())


def all_rows_are_free(engine: Engine) -> None:
    """As many texts as there are rows start in one step."""
    number = max(engine.closed) + 1
    engine.generate(number, *["1"] * SLOTS, limit=3, stopping=Stopping(min_new_tokens=3))
    for _ in range(2):
        engine.turn()
    assert engine.scheduler.running == SLOTS
    engine.settle()


@pytest.fixture(scope="module", params=list(LIMITS))
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture(scope="module")
def artifact(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("artifact")
    return tiny_artifacts.write(folder, family, Weights(), limits=LIMITS[family])


@pytest.mark.parametrize("steps", [200, pytest.param(10_000, marks=pytest.mark.proof)])
def test_those_who_stay_write_what_they_write_alone(family: Family, artifact: Artifact, steps: int) -> None:
    expected = alone(artifact, family)
    alive = sequences_alive()
    engine = Engine(artifact, SLOTS, BLOCKS)
    storm = Storm(engine, family, steps)
    for _ in range(steps):
        storm.step()
    engine.settle()
    answered = {number: outcome for number in storm.asked if (outcome := engine.outcome(number)) is not None}
    for number, outcome in answered.items():
        assert outcome == expected[storm.asked[number]], number
    left = [type(engine.closed[number]) for number in storm.asked.keys() - answered.keys()]
    assert left.count(frames.Gone) > 0.02 * len(storm.asked), "cancelled in time"
    assert left.count(frames.Failed) > 0.02 * len(storm.asked), "too late"
    assert len(answered) > 0.8 * len(storm.asked)
    assert {engine.closed[n].reason for n in storm.asked if isinstance(engine.closed[n], frames.Failed)} == {
        "DEADLINE_EXCEEDED"
    }
    if family is Family.DECODER:
        assert sum(observed.prefix_hit_tokens for observed in engine.observed) > steps
    nothing_is_left(engine)
    assert sequences_alive() == alive, "some that nobody forgot"
    all_rows_are_free(engine)
    engine.close()
