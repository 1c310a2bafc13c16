"""The encoder family over the wire, from the client to the graph: small artifacts made on the spot, a real server, real engines."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from tests.integration.server import Server
from tests.unit.engine.runtime import tiny_artifacts, tiny_weights
from tests.unit.engine.runtime.tiny_weights import VOCAB, WIDTH, Weights
from trine.artifact import Family, Pooling, Precision, Task
from trine.client import Client
from trine.errors import Draining, EngineLost, InvalidInput, NotLive, TryLater, WrongTask
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository

TOKENIZER = {
    "version": "1.0",
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {"type": "WordLevel", "vocab": {f"w{n}": n for n in range(VOCAB)}, "unk_token": "w22"},
}
VERSIONS: dict[str, tuple[Task, dict[str, Any]]] = {
    "nli": (Task.CLASSIFICATION, {"pairs": True}),
    "ner": (Task.TOKEN_CLASSIFICATION, {"labels": ("O", "B-X", "I-X")}),
    "mini": (Task.EMBEDDING, {"pooling": Pooling.MEAN, "embedding_size": WIDTH, "normalize": True}),
}
LONG = "w3 w5 w7 w9 " * 20


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a version of each task."""
    root, weights = tmp_path_factory.mktemp("repository"), Weights()
    library = Tokenizer.from_str(json.dumps(TOKENIZER))
    library.post_processor = processors.TemplateProcessing(
        single="w20 $A w21", pair="w20 $A w21 $B:1 w21:1", special_tokens=[("w20", 20), ("w21", 21)]
    )
    repository = Repository(root)
    for name, (task, facts) in VERSIONS.items():
        with repository.reserve(name) as reservation:
            reservation.staging.mkdir()
            library.save(str(reservation.staging / "tokenizer.json"))
            tiny_artifacts.write(reservation.staging, Family.ENCODER, weights, task=task, **facts)
            record = Record(
                checkpoint=name,
                number=reservation.number,
                state=VersionState.READY,
                architecture="Tiny",
                family=Family.ENCODER,
                task=task,
                precision=Precision.FP32,
                digest=name,
                create_time=0.0,
            )
            reservation.publish(record)
        repository.set_alias(name, "live", record.number)
    return root


@pytest.fixture(scope="module")
def running(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("serving"), published, engine_threads=1) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def caller(running: Server) -> Iterator[Client]:
    with running.client() as client:
        yield client


def test_every_call(caller: Client) -> None:
    one, pair = caller.classify("nli", ["w3", "w3"], text_pairs=[None, "w5"], raw_scores=True)
    assert one.labels != pair.labels
    assert (one.usage.input_tokens, pair.usage.input_tokens, pair.usage.windows) == (3, 5, 1)
    tagged = caller.classify_tokens("ner", "w3 w5  w11 w12 w13 w14", aggregation="none")
    assert tagged.entities
    for entity in tagged.entities:
        assert "w3 w5  w11 w12 w13 w14"[entity.begin : entity.end] == entity.text != ""
    vector = caller.embed("mini", "w3 w5")
    assert len(vector.values) == WIDTH
    assert sum(value**2 for value in vector.values) == pytest.approx(1.0, abs=1e-5)
    expected = tiny_weights.encoded(Weights(), [20, 3, 5, 21]).mean(0)[:4]
    raw = caller.embed("mini", "w3 w5", dimensions=4, normalize=False)
    assert list(raw.values) == pytest.approx(list(expected), abs=1e-5)


def test_long_texts(caller: Client) -> None:
    for call in (
        lambda **options: caller.classify("nli", LONG, **options),
        lambda **options: caller.classify_tokens("ner", LONG, **options),
        lambda **options: caller.embed("mini", LONG, **options),
    ):
        with pytest.raises(
            InvalidInput, match="has 82 tokens, and the checkpoint reads at most 24"
        ) as caught:
            call()
        assert caught.value.field == "inputs[0].text"
        usage = call(windows=True, overlap=2).usage
        assert (usage.windows, usage.input_tokens) == (4, 80 + 3 * 2 + 4 * 2)


def test_another_tasks_checkpoint(caller: Client) -> None:
    with pytest.raises(WrongTask, match="call ClassifyTokens"):
        caller.embed("ner", "w3")


def test_a_stream_answers_as_the_unary_call_does(caller: Client) -> None:
    chance = random.Random(1)
    texts = [" ".join(f"w{chance.randrange(20)}" for _ in range(chance.randint(1, 60))) for _ in range(500)]
    for position in range(0, 500, 50):
        texts[position] = ""
    expected = caller.embed("mini", [text or "w0" for text in texts[:256]], windows=True)
    found = {one.index: one for one in caller.stream_embed("mini", iter(texts), windows=True)}
    assert sorted(found) == list(range(500))
    for index, text in enumerate(texts):
        if not text:
            error = found[index].error
            assert isinstance(error, InvalidInput)
            assert error.field == "input.text"
        elif index < 256:
            assert found[index].result == expected[index]
    labels = list(caller.stream_classify("nli", [("w3", "w5"), "w3"]))
    assert {one.index: one.result for one in labels} == {
        0: caller.classify("nli", "w3", text_pairs="w5"),
        1: caller.classify("nli", "w3"),
    }


def test_the_checkpoints_say_what_they_do(running: Server, caller: Client) -> None:
    assert {one.name: one.versions[0].task for one in caller.list()} == {
        "nli": "classification",
        "ner": "token-classification",
        "mini": "embedding",
    }
    page = running.http("/metrics")[1]
    assert 'task="token-classification"' in page


def test_an_engine_that_dies_fails_its_inputs_and_not_the_stream(published: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "server", published, engine_threads=1) as server, server.client() as client:
        server.wait_ready()
        killed = threading.Event()

        def texts() -> Iterator[str]:
            for number in range(100_000):
                if number == 300:
                    os.kill(server.engines()["mini:1"], signal.SIGKILL)
                    killed.set()
                if number > 300 and recovered.is_set():
                    return
                yield "w3 w5"
                if killed.is_set():
                    time.sleep(0.002)

        recovered, kinds, after = threading.Event(), set(), False
        for one in client.stream_embed("mini", texts()):
            if one.error is not None:
                kinds.add(type(one.error))
                after = True
            elif after:
                recovered.set()
        assert recovered.is_set()
        assert kinds
        assert kinds <= {EngineLost, NotLive}


def test_a_drain_ends_an_open_stream(published: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "server", published, engine_threads=1) as server, server.client() as client:
        server.wait_ready()
        answered = threading.Event()

        def texts() -> Iterator[str]:
            yield "w3"
            answered.wait(30)
            os.kill(server.process.pid, signal.SIGTERM)
            threading.Event().wait(5)

        began, found = 0.0, []
        with pytest.raises(TryLater) as caught:
            for one in client.stream_embed("mini", texts()):
                found.append(one.result)
                began = time.monotonic()
                answered.set()
        assert isinstance(caught.value, Draining)
        assert len(found) == 1
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 15, "the drain waited for the stream"
