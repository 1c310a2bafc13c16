"""The engine as a process of its own, over tiny artifacts: what it says first, what it answers, how it ends."""

from __future__ import annotations

import json
import math
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.unit.engine.loop_front import classify, generate
from tests.unit.engine.runtime import tiny_artifacts
from tests.unit.engine.runtime.tiny_weights import VOCAB, WIDTH, Weights, encoded, seq2seq_logits
from trine import frames
from trine.artifact import Family, Pooling, SelfTest, Target, Task
from trine.sampling import BeamSearch, Decoding

TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "vocab": {f"w{n}": n for n in range(VOCAB)} | {"a": VOCAB},
        "unk_token": "w2",
    },
}
"""Words w0, w1 ... are the ids; "a" is beyond the graph's vocabulary and read as the unknown token."""


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights()


class Engine:
    """An engine process and the front's end of its socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "trine.engine.main", "--fd", str(theirs.fileno())]
        command += ["--artifact", str(folder), "--threads", "1", "--cache-bytes", "1000000"]
        command += ["--prefix-cache-bytes", "100000", "--max-slots", "4", "--batch-tokens", "64", *options]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
        theirs.close()
        self._socket.settimeout(60)
        self._unpack = frames.Unpacker(frames.ToFront)
        self._messages: list[Any] = []
        self.observed: list[frames.Observed] = []

    def send(self, *messages: frames.Frame) -> None:
        self._socket.sendall(frames.pack(messages))

    def receive(self) -> Any:
        """The next message that is no Observed; those are kept."""
        while True:
            while not self._messages:
                data = self._socket.recv(1 << 16)
                assert data, self.process.stderr and self.process.stderr.read().decode()
                self._messages += self._unpack.feed(data)
            message = self._messages.pop(0)
            if not isinstance(message, frames.Observed):
                return message
            self.observed.append(message)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Engine]:
    engine = Engine(folder, *options)
    try:
        yield engine
    finally:
        engine.close()
        engine.process.communicate(timeout=20)


def write(folder: Path, family: Family, weights: Weights, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    tiny_artifacts.write(folder, family, weights, unk_id=2, **changes)
    return folder


def test_encoder(tmp_path: Path, weights: Weights) -> None:
    with started(write(tmp_path / "artifact", Family.ENCODER, weights)) as engine:
        ready = engine.receive()
        assert isinstance(ready, frames.Ready)
        assert (ready.slots, ready.self_test_drift < 1e-5) == (0, True)
        engine.send(classify(1, "w3 w5", "w4", top_k=1), classify(2, "w3 " * 25))
        refused, answer = engine.receive(), engine.receive()
        assert refused == frames.Failed(
            2,
            "INVALID_INPUT",
            "the text has 25 tokens, and the checkpoint reads at most 24",
            "inputs[0].text",
        )
        assert [result.usage.input_tokens for result in answer.classified] == [2, 1]
        assert all(len(result.labels) == 1 for result in answer.classified)
        started_with = engine.observed[0]
        assert started_with.rss_bytes > 1 << 20
        assert (started_with.compute, started_with.input_tokens) == ([], 0), "the warm-up is not counted"


def test_token_classification(tmp_path: Path, weights: Weights) -> None:
    facts: dict[str, Any] = {"task": Task.TOKEN_CLASSIFICATION, "labels": ("B-X", "B-Y", "B-Z")}
    with started(write(tmp_path / "artifact", Family.ENCODER, weights, **facts)) as engine:
        assert isinstance(engine.receive(), frames.Ready)
        engine.send(frames.ClassifyTokens(1, ["w3  w5"], math.inf, 2, "one", "simple"))
        (result,) = engine.receive().tagged
        assert [(one.text, one.begin, one.end) for one in result.entities] == [("w3", 0, 2), ("w5", 4, 6)]


def test_embedding(tmp_path: Path, weights: Weights) -> None:
    facts: dict[str, Any] = {"task": Task.EMBEDDING, "pooling": Pooling.CLS, "embedding_size": WIDTH}
    with started(write(tmp_path / "artifact", Family.ENCODER, weights, **facts)) as engine:
        assert isinstance(engine.receive(), frames.Ready)
        engine.send(frames.Embed(1, ["w3 w5"], math.inf, 2, "one"))
        (result,) = engine.receive().embedded
        np.testing.assert_allclose(
            np.frombuffer(result.values, "<f4"), encoded(weights, [3, 5])[0], atol=1e-5
        )


def test_decoder_streams_and_stops(tmp_path: Path, weights: Weights) -> None:
    with started(write(tmp_path / "artifact", Family.DECODER, weights)) as engine:
        assert engine.receive().slots == 4
        engine.send(generate(1, "w3 w5 w7", limit=6), generate(2, "w3 w5 w7", limit=6, stream=True))
        text, answer, last = "", None, False
        while answer is None or not last:
            message = engine.receive()
            if isinstance(message, frames.Answer):
                answer = message
            else:
                (delta,) = message.deltas
                text, last = text + delta.text, delta.last
        assert text == answer.generated[0].text
        assert text
        engine.process.send_signal(signal.SIGTERM)
        engine.process.send_signal(signal.SIGINT)
        engine.send(frames.Ping(5))
        assert engine.receive() == frames.Pong(5), "signals do not end an engine"
        engine.send(frames.Stop())
        assert engine.process.wait(20) == 0


def test_encoder_decoder(tmp_path: Path, weights: Weights) -> None:
    """Greedy, one token after the other, against the reference in numpy."""
    target, source = [tiny_artifacts.START], [3, 5, 7]
    while len(target) < 7 and target[-1] != tiny_artifacts.END:
        target.append(int(seq2seq_logits(weights, source, target)[-1].argmax()))
    expected = " ".join(f"w{token}" for token in target[1:] if token != tiny_artifacts.END)
    with started(write(tmp_path / "artifact", Family.ENCODER_DECODER, weights)) as engine:
        assert engine.receive().slots == 4
        engine.send(generate(1, "w3 w5 w7", "w4", limit=6))
        assert engine.receive().generated[0].text == expected


def test_the_fronts_death_ends_the_engine(tmp_path: Path, weights: Weights) -> None:
    with started(write(tmp_path / "artifact", Family.ENCODER, weights)) as engine:
        engine.receive()
        engine.close()
        assert engine.process.wait(20) == 0


def test_a_self_test_that_differs(tmp_path: Path, weights: Weights) -> None:
    wrong = SelfTest([[3, 5]], [[1.0, 2.0, 3.0]], tolerance=1e-4)
    with started(write(tmp_path / "artifact", Family.ENCODER, weights, self_test=wrong)) as engine:
        failed = engine.receive()
        assert failed.reason == "ARTIFACT_CORRUPT"
        assert "self-test" in failed.message
        assert engine.process.wait(20) == 1


@pytest.mark.parametrize("damage", ["missing", "bit"])
def test_a_damaged_artifact(tmp_path: Path, weights: Weights, damage: str) -> None:
    folder = write(tmp_path / "artifact", Family.ENCODER, weights)
    graph = folder / "model.onnx"
    if damage == "missing":
        graph.unlink()
    else:
        data = bytearray(graph.read_bytes())
        data[len(data) // 2] ^= 1
        graph.write_bytes(data)
    with started(folder) as engine:
        failed = engine.receive()
        assert isinstance(failed, frames.LoadFailed)
        assert failed.reason == "ARTIFACT_CORRUPT"
        assert str(tmp_path) not in failed.message
        assert engine.process.wait(20) == 1


@pytest.mark.parametrize(
    ("target", "provider", "reason"),
    [
        (Target.CPU, "cuda", "the installed onnxruntime has no CUDA provider; see docs/gpu.md"),
        (
            Target.CUDA,
            "cpu",
            "the version was exported for cuda, and this server computes on cpu: register it again",
        ),
    ],
)
def test_another_device_than_there_is(
    tmp_path: Path, weights: Weights, target: Target, provider: str, reason: str
) -> None:
    if provider == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    folder = write(tmp_path / "artifact", Family.DECODER, weights, target=target)
    with started(folder, "--provider", provider) as engine:
        assert engine.receive() == frames.LoadFailed("NOT_POSSIBLE", reason)
        assert engine.process.wait(20) == 1


def test_a_search_has_at_most_as_many_beams_as_there_are_rows(tmp_path: Path, weights: Weights) -> None:
    with started(write(tmp_path / "artifact", Family.DECODER, weights)) as engine:
        ready = engine.receive()
        assert ready.slots == 4
        for number in (4, 5):
            decoding = Decoding(max_new_tokens=3, beam_search=BeamSearch(number, n_best=number))
            engine.send(frames.Generate(number, ["w3 w5"], math.inf, 2, "", decoding, stream=False))
        refused, answer = engine.receive(), engine.receive()
        assert (refused.id, refused.reason, refused.field) == (5, "INVALID_INPUT", "beam_search.beams")
        assert len(answer.generated[0].hypotheses) == 4


def _budget(folder: Path) -> int:
    """Tokens of a batch, as an engine says in its log once it is live."""
    engine = Engine(folder)
    assert isinstance(engine.receive(), frames.Ready)
    engine.close()
    _, log = engine.process.communicate(timeout=20)
    (told,) = re.findall(rb"batches of up to (\d+) tokens", log)
    return int(told)


def test_what_was_measured_is_kept_for_the_next_start(tmp_path: Path, weights: Weights) -> None:
    folder = write(tmp_path / "artifact", Family.ENCODER, weights)
    while not (found := list(tmp_path.glob("sweeps/*"))):  # on a busy machine nothing is kept
        assert _budget(folder) in range(32, 65)
    (kept,) = found
    assert [tokens for tokens, _ in json.loads(kept.read_bytes())] == [8, 16, 32, 64]
    kept.write_text("[[8, 0.05], [16, 0.1], [32, 0.2]]")
    assert _budget(folder) == 32
    kept.write_text("no sweep")
    assert _budget(folder) in range(32, 65)
