"""The schedulers over the real runners and tiny graphs: what a sequence writes does not depend on its company."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import VOCAB, Weights
from tests.unit.engine.scheduling.stand_ins import Clock, generation, translation
from trine.artifact import Artifact, Family
from trine.engine.runtime.beam import BeamChoice
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.sampler import Choice
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.engine.scheduling.continuous import ContinuousBatcher, DecoderBatcher, EncoderDecoderBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.sequence import Sequence
from trine.sampling import BeamSearch, Sampling

SLOTS, MAX_CHUNK, BUDGET = 4, 5, 16


def decoder(artifact: Artifact) -> ContinuousBatcher[Sequence]:
    return DecoderBatcher(DecoderRunner(artifact, 1, SLOTS, MAX_CHUNK), BUDGET, Meter(Clock()))


def encoder_decoder(artifact: Artifact) -> ContinuousBatcher[Sequence]:
    return EncoderDecoderBatcher(Seq2SeqRunner(artifact, 1, SLOTS), BUDGET, Meter(Clock()))


FAMILIES: dict[Family, tuple[Callable[[Artifact], ContinuousBatcher[Sequence]], Any]] = {
    Family.DECODER: (decoder, generation),
    Family.ENCODER_DECODER: (encoder_decoder, translation),
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


@pytest.fixture(scope="module")
def artifact(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_artifacts.write(tmp_path_factory.mktemp("artifact"), family, Weights())


def sequences(family: Family, count: int, sampling: Sampling) -> list[Sequence]:
    """The same sequences at every call, with fresh states."""
    chance = random.Random(1)
    made = []
    for seed in range(count):
        prompt = [chance.randrange(1, VOCAB) for _ in range(chance.randint(1, 12))]
        make = FAMILIES[family][1]
        sequence = make(prompt, chance.randint(1, 12), eos_ids=frozenset({0}))
        sequence.choice = Choice(
            sampling, seed, context=sequence.context, begin=sequence.begin, end_ids=[0], min_new_tokens=2
        )
        made.append(sequence)
    return made


def step(batcher: ContinuousBatcher[Sequence]) -> None:
    batch = batcher.choose()
    if batch:
        batcher.settle(batch, batcher.run(batch))


def finish(batcher: ContinuousBatcher[Sequence]) -> None:
    while batcher.waiting or batcher.running:
        step(batcher)


def searches(family: Family, count: int) -> list[Sequence]:
    """Beam searches, some of them penalized, and every third a plain sequence. The same at every call."""
    chance = random.Random(2)
    made = sequences(family, count, Sampling())
    for number, sequence in enumerate(made):
        if number % 3:
            sequence.width = chance.randint(2, SLOTS)
            sequence.choice = BeamChoice(
                BeamSearch(
                    sequence.width, chance.uniform(-1, 2), chance.choice(["first", "heuristic", "never"])
                ),
                chance.choice([Sampling(), Sampling(repetition_penalty=1.3, no_repeat_ngram_size=2)]),
                read=sequence.context,
                limit=sequence.limit,
                eos_ids=sequence.eos_ids,
                stop_ids=[5],
                forced=chance.choice([{}, {0: 7}]),
            )
    return made


def outcome(sequence: Sequence) -> Any:
    if isinstance(sequence.choice, BeamChoice):
        assert sequence.finish
        assert sequence.choice.hypotheses
        return sequence.choice.hypotheses
    return sequence.context, sequence.finish


def test_company_and_order_of_arrival_change_no_search(family: Family, artifact: Artifact) -> None:
    batcher = FAMILIES[family][0](artifact)
    alone, together, trickling = (searches(family, 24) for _ in range(3))
    for sequence in alone:
        batcher.add([sequence])
        finish(batcher)
    batcher.add(together)
    finish(batcher)
    for sequence in reversed(trickling):
        batcher.add([sequence])
        step(batcher)
    finish(batcher)
    expected = [outcome(sequence) for sequence in alone]
    assert [outcome(sequence) for sequence in together] == expected
    assert [outcome(sequence) for sequence in trickling] == expected


def test_searches_that_leave_early_change_nothing_for_the_others(family: Family, artifact: Artifact) -> None:
    batcher = FAMILIES[family][0](artifact)
    undisturbed, disturbed = searches(family, 24), searches(family, 24)
    batcher.add(undisturbed)
    finish(batcher)
    batcher.add(disturbed)
    for leaving in disturbed[::4]:
        step(batcher)
        step(batcher)
        batcher.discard(leaving.call)
    finish(batcher)
    kept = [number for number in range(24) if number % 4]
    assert [outcome(disturbed[number]) for number in kept] == [
        outcome(undisturbed[number]) for number in kept
    ]
    assert (batcher.running, batcher.waiting, batcher.cache_used) == (0, 0, 0)


CONTROLLED = Sampling(
    0.9,
    min_p=0.01,
    repetition_penalty=1.3,
    frequency_penalty=0.4,
    no_repeat_ngram_size=2,
    logit_bias={5: 1.5},
)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(1.0, 0.9, 10), Sampling(no_repeat_ngram_size=2), CONTROLLED],
    ids=["greedy", "sampled", "greedy controlled", "controlled"],
)
def test_company_and_order_of_arrival_change_nothing(
    family: Family, artifact: Artifact, sampling: Sampling
) -> None:
    batcher = FAMILIES[family][0](artifact)
    alone = sequences(family, 24, sampling)
    for sequence in alone:
        batcher.add([sequence])
        finish(batcher)
    together = sequences(family, 24, sampling)
    batcher.add(together)
    finish(batcher)
    trickling = sequences(family, 24, sampling)
    for sequence in reversed(trickling):
        batcher.add([sequence])
        step(batcher)
    finish(batcher)
    expected = [(sequence.context, sequence.finish) for sequence in alone]
    assert [(sequence.context, sequence.finish) for sequence in together] == expected
    assert [(sequence.context, sequence.finish) for sequence in trickling] == expected


def test_those_who_leave_early_change_nothing_for_the_others(family: Family, artifact: Artifact) -> None:
    batcher = FAMILIES[family][0](artifact)
    undisturbed, disturbed = sequences(family, 24, Sampling()), sequences(family, 24, Sampling())
    batcher.add(undisturbed)
    finish(batcher)
    batcher.add(disturbed)
    for leaving in disturbed[::3]:
        step(batcher)
        batcher.discard(leaving.call)
    finish(batcher)
    kept = [number for number in range(24) if number % 3]
    assert [disturbed[number].context for number in kept] == [undisturbed[number].context for number in kept]
    assert (batcher.running, batcher.waiting) == (0, 0)
