"""The checkpoint that computes nothing says what it should, through the code that serves; and what h2load is given and says is read right."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import identity, identity_checkpoint
from bench.identity import LOADS, Load, Run

from trine.artifact import open_artifact
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.selftest import drift
from trine.engine.text.tokenizer import Tokenizer
from trine.registry.references import Reference
from trine.registry.repository import Repository
from trine.v1 import inference_pb2


def test_each_text_is_answered_with_its_number(tmp_path: Path) -> None:
    identity_checkpoint.publish(tmp_path)
    identity_checkpoint.publish(tmp_path)  # it is there
    repository = Repository(tmp_path)
    record = repository.resolve(Reference(identity_checkpoint.NAME))
    artifact = open_artifact(repository.artifact_folder(record))
    tokenizer = Tokenizer(artifact.path("tokenizer.json"), artifact.manifest.vocab_size, None)
    runner = EncoderRunner(artifact, 1)
    assert drift(artifact, runner) == 0
    numbers = [0, 7, 417, 999]
    answers = runner.run(tokenizer.encode([identity.text(number) for number in numbers]))
    assert [answer.tolist() for answer in answers] == [[number, -number] for number in numbers]


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_a_body_holds_all_messages_of_a_call(load: Load) -> None:
    requests = load.requests()
    body = identity.framed([request.SerializeToString() for request in requests])
    found = []
    while body:
        assert body[0] == 0
        size = int.from_bytes(body[1:5], "big")
        found.append(type(requests[0]).FromString(body[5 : 5 + size]))
        body = body[5 + size :]
    assert found == requests
    texts = [
        item.text
        for request in requests
        for item in (
            request.inputs if isinstance(request, inference_pb2.ClassifyRequest) else [request.input]
        )
    ]
    assert texts == [identity.text(number) for number in range(load.inputs_of_a_call)]


def test_wrong_answers_are_noticed() -> None:
    (unary,) = [load for load in LOADS if load.name == "unary"]
    answer = inference_pb2.ClassifyResponse(results=[inference_pb2.Classification()])
    for number in (0, 1):
        labels = [
            inference_pb2.Label(name="number", score=number),
            inference_pb2.Label(name="negated", score=-number),
        ]
        del answer.results[0].labels[:]
        answer.results[0].labels.extend(labels)
        if number == 0:
            assert list(identity._numbers(unary, answer.SerializeToString())) == [0]
        else:
            with pytest.raises(RuntimeError, match="is the answer to the text of 0"):
                list(identity._numbers(unary, answer.SerializeToString()))


def test_what_h2load_says() -> None:
    said = b"finished in 941.50ms, 2124.3 req/s, 1.1MB/s\nrequests: 64 total, 64 started, 64 done, 60 succeeded, 4 failed, 0 errored, 0 timeout\n"
    finished, succeeded = identity._FINISHED.search(said), identity._SUCCEEDED.search(said)
    assert finished
    assert succeeded
    assert float(finished[1]) * identity._UNITS[finished[2]] == pytest.approx(0.9415)
    assert [int(number) for number in succeeded.groups()] == [60, 4, 0, 0]


def test_floors_are_told() -> None:
    runs = {
        load.name: [Run(int(load.floor * 2), 1.0 if load.inputs == 1 else 3.0, 0.5, 0.2, 0.1)]
        for load in LOADS
    }
    told = dict(zip([load.name for load in LOADS], identity.lines(runs)[2:], strict=True))
    assert "2,000: reached" in told["unary"]
    assert "20,000: **missed**" in told["unary, 16 inputs"]
    assert "5,000: reached" in told["a stream"]
