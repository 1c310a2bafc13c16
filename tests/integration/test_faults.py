"""What happens when things break: engines killed and stopped, SIGTERM in the middle, folders that are no checkpoints."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.server import CHECKPOINTS, Server
from trine.client import Client
from trine.errors import (
    CheckpointRefused,
    EngineLost,
    InvalidInput,
    NotACheckpoint,
    NotLive,
    NotPossible,
    TrineError,
    TryLater,
    UnsafeCheckpoint,
    UnsupportedArchitecture,
)


@pytest.fixture
def breakable(repository: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "server", repository) as running:
        running.wait_ready()
        yield running


class Stream(threading.Thread):
    """One endless-as-can-be stream of the blocking client, and how it ended."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.begun = threading.Event()
        self.text = ""
        self.error: TrineError | None = None
        self.ended = 0.0

    def run(self) -> None:
        try:
            for delta in self._client.stream_generate("verse", "ROMEO:", max_new_tokens=480, temperature=1.0):
                self.text += delta.text
                self.begun.set()
        except TrineError as error:
            self.error = error
        self.ended = time.monotonic()
        self.begun.set()


def streams(client: Client, count: int) -> list[Stream]:
    started = [Stream(client) for _ in range(count)]
    for stream in started:
        stream.start()
    for stream in started:
        assert stream.begun.wait(30)
    return started


def test_sigkill_of_an_engine_while_16_streams_run(
    breakable: Server, record_property: Callable[[str, object], None]
) -> None:
    with breakable.client() as client:
        running = streams(client, 16)
        os.kill(breakable.engines()["verse:1"], signal.SIGKILL)
        killed = time.monotonic()
        assert client.classify("sentiment", "Fine.").labels, "others never notice"
        for stream in running:
            stream.join(30)
        assert all(isinstance(stream.error, EngineLost) for stream in running)
        assert all(stream.error is not None and stream.error.retry_after for stream in running)
        slowest = max(stream.ended for stream in running) - killed
        while client.get("verse").versions[0].engine_state != "live":
            assert time.monotonic() - killed < 60
            time.sleep(0.02)
        back = time.monotonic() - killed
        record_property("seconds until 16 streams had ended, until the engine was back", (slowest, back))
        assert client.generate("verse", "ROMEO:", max_new_tokens=4).text
        assert client.health("verse") == "serving"
    assert breakable.metric("trine_engine_restarts_total", checkpoint="verse") == 1


def test_a_stopped_engine_is_killed_by_the_watchdog(repository: Path, tmp_path: Path) -> None:
    """It gives no EOF. The call that it held is answered UNAVAILABLE, and the client's own retry finds the next engine."""
    with (
        Server(tmp_path / "server", repository, engine_stall_timeout=1.0) as server,
        server.client() as client,
    ):
        server.wait_ready()
        os.kill(server.engines()["sentiment:1"], signal.SIGSTOP)
        with contextlib.suppress(EngineLost, NotLive):
            assert client.classify("sentiment", "Fine.", timeout=30).labels
        assert server.metric("trine_requests_total", checkpoint="sentiment", code="ENGINE_LOST") == 1
        assert server.metric("trine_engine_restarts_total", checkpoint="sentiment") == 1
        assert client.generate("verse", "ROMEO:", max_new_tokens=4).text


def test_a_server_that_was_frozen_keeps_its_engines(repository: Path, tmp_path: Path) -> None:
    """As in a paused virtual machine: the silence of its engines meanwhile is its own."""
    with (
        Server(tmp_path / "server", repository, engine_stall_timeout=1.0) as server,
        server.client() as client,
    ):
        server.wait_ready()
        engines = server.engines()
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        server.process.send_signal(signal.SIGCONT)
        assert client.classify("sentiment", "Fine.", timeout=30).labels
        time.sleep(1)
        assert server.engines() == engines


def test_a_ports_file_that_cannot_be_written_ends_the_start_in_plain_words(
    repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="the ports cannot be written") as failure:
        Server(tmp_path / "server", repository, ports_file=tmp_path / "missing" / "ports.json")
    assert "Traceback" not in str(failure.value)


def test_sigterm_drains(breakable: Server) -> None:
    with breakable.client() as client:
        running = streams(client, 4)
        breakable.process.send_signal(signal.SIGTERM)
        for stream in running:
            stream.join(60)
        assert [stream.error for stream in running] == [None] * 4
        assert breakable.process.wait(60) == 0
        with pytest.raises(TryLater):
            client.classify("sentiment", "Fine.", timeout=2)
    assert breakable.engines() == {}
    assert breakable.records()[-1]["event"] == "stopped"


def test_cancelled_streams_leave_nothing_running(breakable: Server) -> None:
    with breakable.client() as client:
        for _ in range(8):
            with client.stream_generate("verse", "ROMEO:", max_new_tokens=400) as stream:
                next(iter(stream))
        deadline = time.monotonic() + 20
        while breakable.metric("trine_requests_running", checkpoint="verse"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert breakable.metric("trine_kv_cache_usage_ratio", checkpoint="verse") == 0
    assert breakable.metric("trine_requests_total", checkpoint="verse", code="CANCELLED") == 8


def test_a_second_server_on_the_same_port_says_so(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=str(server.ports["grpc"])):
        Server(tmp_path / "second", tmp_path / "repository", grpc_port=server.ports["grpc"])


def write(folder: Path, **files: object) -> Path:
    folder.mkdir()
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def test_what_is_no_checkpoint_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bert = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
    strange = {"architectures": ["FancyNetForCausalLM"], "model_type": "fancy"}
    good = CHECKPOINTS / "sentiment-en"
    broken = write(tmp_path / "broken", config__json=json.loads((good / "config.json").read_text()))
    (broken / "model.safetensors").write_bytes(b"\x00" * 100)
    (broken / "tokenizer.json").write_bytes((good / "tokenizer.json").read_bytes())
    cases: list[tuple[Path, type[TrineError]]] = [
        (write(tmp_path / "empty"), NotACheckpoint),
        (write(tmp_path / "pickle", config__json=bert, pytorch_model__bin=b"\x80\x04N."), UnsafeCheckpoint),
        (write(tmp_path / "strange", config__json=strange, model__safetensors=b""), UnsupportedArchitecture),
        (broken, CheckpointRefused),
        (tmp_path / "missing", NotACheckpoint),
        (Path("/etc"), InvalidInput),
    ]
    repository = tmp_path / "repository"
    with (
        Server(tmp_path / "server", repository, import_root=tmp_path) as server,
        server.client() as client,
    ):
        for path, error in cases:
            with pytest.raises(error) as caught:
                list(client.register("bad", path))
            assert str(tmp_path) not in caught.value.message
            assert client.list() == []
        assert [entry.name for entry in repository.iterdir() if entry.name != ".lock"] == []
        assert server.metric("trine_registrations_total", outcome="refused") == len(cases)


def test_load_unload_delete(repository_copy: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "server", repository_copy, load="none") as server, server.client() as client:
        server.wait_ready()
        assert server.engines() == {}
        with pytest.raises(TryLater):
            client.classify("sentiment", "Fine.", timeout=30)
        assert client.load("sentiment").engine_state == "live"
        assert client.classify("sentiment", "Fine.").labels
        with pytest.raises(NotPossible):
            client.delete("sentiment")
        assert client.unload("sentiment:1").engine_state == "unloaded"
        assert server.engines() == {}
        client.delete("sentiment")
        assert [found.name for found in client.list()] == ["en-fr", "verse"]


def test_a_corrupt_artifact_is_not_served(repository_copy: Path, tmp_path: Path) -> None:
    weights = repository_copy / "sentiment" / "1" / "artifact" / "model.onnx.data"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x10
    weights.write_bytes(content)
    with Server(tmp_path / "server", repository_copy) as server, server.client() as client:
        server.wait_ready()
        assert client.health("sentiment") == "not-serving"
        assert client.health("verse") == "serving"
        assert "not as it was published" in client.get("sentiment").versions[0].reason
        with pytest.raises(TryLater):
            client.classify("sentiment", "Fine.", timeout=30)
