"""The encoder family's tasks over real graphs, a real tokenizer and the loop: against numpy, alone and in company, bit for bit."""

from __future__ import annotations

import json
import math
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Library
from tokenizers import processors

from tests.unit.engine.runtime import tiny_artifacts, tiny_weights
from tests.unit.engine.runtime.tiny_weights import VOCAB, WIDTH, Weights
from trine import frames
from trine.artifact import Artifact, Family, Pooling, Task
from trine.engine import main
from trine.engine.loop import Loop
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.selftest import drift
from trine.engine.scheduling.dynamic import DynamicBatcher
from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.pace import Pace
from trine.engine.tasks.classification import softmax

CLS, SEP = 20, 21
WORDS = 20
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {"type": "WordLevel", "vocab": {f"w{n}": n for n in range(VOCAB)}, "unk_token": "w22"},
}
SPECIAL = [("w20", CLS), ("w21", SEP)]
MANIFESTS: dict[Task, dict[str, Any]] = {
    Task.CLASSIFICATION: {"pairs": True},
    Task.TOKEN_CLASSIFICATION: {"labels": ("O", "B-X", "I-X")},
    Task.EMBEDDING: {"pooling": Pooling.MEAN, "embedding_size": WIDTH, "normalize": True},
}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> dict[Task, Artifact]:
    library = Library.from_str(json.dumps(TOKENIZER))
    library.post_processor = processors.TemplateProcessing(
        single="w20 $A w21", pair="w20 $A w21 $B:1 w21:1", special_tokens=SPECIAL
    )
    made = {}
    for task, facts in MANIFESTS.items():
        folder = tmp_path_factory.mktemp(task)
        library.save(str(folder / "tokenizer.json"))
        made[task] = tiny_artifacts.write(folder, Family.ENCODER, weights, task=task, **facts)
    return made


class Engine:
    """A loop that a test turns by hand."""

    def __init__(self, artifact: Artifact) -> None:
        self.ours, self._theirs = socket.socketpair()
        runner, meter = EncoderRunner(artifact, 1), Meter(lambda: 0.0)
        assert drift(artifact, runner) < 1e-5
        task: Any = main._task(artifact)
        self.loop: Loop[Any] = Loop(
            self._theirs, task, DynamicBatcher(runner, Pace(64), lambda: 0.0), meter, lambda: 0.0
        )
        self._unpack = frames.Unpacker(frames.ToFront)

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()

    def ask(self, *requests: frames.Submit) -> dict[int, Any]:
        self.ours.sendall(frames.pack(requests))
        answers: dict[int, Any] = {}
        while len(answers) < len(requests):
            self.loop.turn()
            for message in self._unpack.feed(self.ours.recv(1 << 20)):
                if isinstance(message, frames.Answer | frames.Failed):
                    assert message.id not in answers
                    answers[message.id] = message
        return answers


@pytest.fixture
def engine_of(artifacts: dict[Task, Artifact]) -> Iterator[Callable[[Task], Engine]]:
    made: list[Engine] = []

    def make(task: Task) -> Engine:
        made.append(Engine(artifacts[task]))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def classify(number: int, *texts: str, **options: Any) -> frames.Classify:
    return frames.Classify(number, list(texts), math.inf, 2, "one", 0, **options)


def tag(number: int, *texts: str, **options: Any) -> frames.ClassifyTokens:
    return frames.ClassifyTokens(number, list(texts), math.inf, 2, "one", "none", **options)


def embed(number: int, *texts: str, **options: Any) -> frames.Embed:
    return frames.Embed(number, list(texts), math.inf, 2, "one", **options)


ASK: dict[Task, Any] = {
    Task.CLASSIFICATION: classify,
    Task.TOKEN_CLASSIFICATION: tag,
    Task.EMBEDDING: embed,
}


def ids(text: str) -> list[int]:
    return [CLS, *(int(word[1:]) for word in text.split()), SEP]


def test_classification(engine_of: Callable[[Task], Engine], weights: Weights) -> None:
    answer = engine_of(Task.CLASSIFICATION).ask(classify(1, "w3 w5"))[1]
    (result,) = answer.classified
    expected = softmax(tiny_weights.encoder_logits(weights, ids("w3 w5")))
    assert dict(result.labels) == pytest.approx(dict(zip("abc", expected, strict=True)), abs=1e-5)


def test_a_pair(engine_of: Callable[[Task], Engine], weights: Weights) -> None:
    request = classify(1, "w3 w5", pairs=["w7"], raw_scores=True)
    (result,) = engine_of(Task.CLASSIFICATION).ask(request)[1].classified
    expected = tiny_weights.encoder_logits(weights, [CLS, 3, 5, SEP, 7, SEP])
    assert dict(result.labels) == pytest.approx(dict(zip("abc", expected, strict=True)), abs=1e-4)


def test_token_classification(engine_of: Callable[[Task], Engine], weights: Weights) -> None:
    text = "w3  w5 w11 w12 w13 w14"
    (result,) = engine_of(Task.TOKEN_CLASSIFICATION).ask(tag(1, text))[1].tagged
    logits = tiny_weights.encoded(weights, ids(text))[1:-1] @ weights["labels"]
    labels = [("O", "B-X", "I-X")[row.argmax()] for row in logits]
    expected = [
        (label, word, text.index(word), float(softmax(row).max()))
        for label, word, row in zip(labels, text.split(), logits, strict=True)
        if label != "O"
    ]
    assert 0 < len(expected) < 6, "the weights tell nothing"
    assert [(one.label, one.text, one.begin) for one in result.entities] == [one[:3] for one in expected]
    assert [one.score for one in result.entities] == pytest.approx([one[3] for one in expected], abs=1e-5)


def test_embedding(engine_of: Callable[[Task], Engine], weights: Weights) -> None:
    engine = engine_of(Task.EMBEDDING)
    answer = engine.ask(embed(1, "w3 w5"), embed(2, "w3 w5", normalize=False, dimensions=5))
    states = tiny_weights.encoded(weights, ids("w3 w5")).mean(0)
    found = [np.frombuffer(answer[number].embedded[0].values, "<f4") for number in (1, 2)]
    np.testing.assert_allclose(found[0], states / np.linalg.norm(states), atol=1e-6)
    np.testing.assert_allclose(found[1], states[:5], atol=1e-5)


@pytest.mark.parametrize("task", list(MANIFESTS))
def test_alone_and_in_company(engine_of: Callable[[Task], Engine], task: Task) -> None:
    """Short and long texts, whole and in windows, in any batches: the same bits."""
    engine, chance = engine_of(task), random.Random(5)
    texts = [
        " ".join(f"w{chance.randrange(WORDS)}" for _ in range(chance.choice([1, 3, 9, 22, 60])))
        for _ in range(40)
    ]
    windows = frames.Windows(4)
    alone = [engine.ask(ASK[task](1, text, windows=windows))[1] for text in texts]
    results = [(one.classified + one.tagged + one.embedded)[0] for one in alone]
    assert {result.usage.windows for result in results} == {1, 4}
    for size in (3, 7, 40):
        requests = [
            ASK[task](number, *texts[number : number + size], windows=windows)
            for number in range(0, len(texts), size)
        ]
        answers = engine.ask(*requests)
        together = [answers[number] for number in range(0, len(texts), size)]
        assert [part for one in together for part in one.classified + one.tagged + one.embedded] == results


@pytest.mark.parametrize("task", list(MANIFESTS))
def test_one_bad_request_fails_alone(engine_of: Callable[[Task], Engine], task: Task) -> None:
    long = "w1 " * 30
    answers = engine_of(task).ask(ASK[task](1, "w1"), ASK[task](2, "w1", long), ASK[task](3, "w2"))
    assert isinstance(answers[1], frames.Answer)
    assert isinstance(answers[3], frames.Answer)
    failed = answers[2]
    assert (failed.reason, failed.field) == ("INVALID_INPUT", "inputs[1].text")
    assert failed.message == "the text has 32 tokens, and the checkpoint reads at most 24"


@pytest.mark.parametrize("task", list(MANIFESTS))
def test_the_warm_up_runs_every_task(artifacts: dict[Task, Artifact], task: Task) -> None:
    subject: Any = main._task(artifacts[task])
    runner = EncoderRunner(artifacts[task], 1)
    runs = []
    run = runner.run
    runner.run = lambda *given: runs.append(given) or run(*given)  # type: ignore[method-assign,func-returns-value]
    main._warm_up(DynamicBatcher(runner, Pace(64), lambda: 0.0), subject)
    assert len(runs) == 1
