"""The real server, called over gRPC: `trine serve` in a process of its own, with one engine. The client is the bench's process.

The processor time is that of the server and its engine. The client's, which stands for a caller elsewhere, is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trine
from bench import accounting
from bench.shapes import Tokens, Vocabulary
from trine.client import Client, Usage, VersionInfo

_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's settings that the bench sets; all others are the defaults."""

    repository: Path
    engine_threads: int


@dataclass(frozen=True, slots=True)
class CacheSettings(Settings):
    engine_max_slots: int
    engine_cache_bytes: int


class Process:
    """`trine serve` on free ports, from when it is entered until it is left."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, object]) -> None:
        self.name = name
        self.target = ""
        """The inference port, once it is entered."""
        self.admin_target = ""
        """That of administration, likewise."""
        self.http_port = 0
        """That of the page of metrics, likewise."""
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._ports_file = folder / f"{name.replace(' ', '-')}.ports"
        self._environment = {f"TRINE_{key.upper()}": str(value) for key, value in settings.items()} | {
            "TRINE_GRPC_PORT": "0",
            "TRINE_HTTP_PORT": "0",
            "TRINE_ADMIN_PORT": "0",
            "TRINE_PORTS_FILE": str(self._ports_file),
        }
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._ports_file.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trine.cli", "serve"],
                env=os.environ | self._environment,
                stdout=log,
                stderr=log,
            )
        self._wait_until(self._ports_file.exists)
        ports: dict[str, int] = json.loads(self._ports_file.read_text(encoding="utf-8"))
        self.target, self.admin_target = (f"127.0.0.1:{ports[name]}" for name in ("grpc", "admin"))
        self.http_port = ports["http"]
        return self

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Raises RuntimeError where the server ends instead."""
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server did not start; see {self._log}")
            time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Process):
    """A server that has loaded one checkpoint."""

    def __init__(
        self, name: str, checkpoint: str, folder: Path, vocabulary: Vocabulary, settings: Settings
    ) -> None:
        super().__init__(name, folder, asdict(settings) | {"load": "none"})
        self.facts: dict[str, str] = {}
        self.checkpoint = checkpoint
        self.vocabulary = vocabulary
        self.client: Client
        self.version: VersionInfo

    def __enter__(self) -> Self:
        super().__enter__()
        self.client = Client(self.target, self.admin_target, timeout=_TIMEOUT)
        self.version = self.client.load(self.checkpoint)
        self.facts = {"trine": trine.__version__, "over": "gRPC", "numbers": self.version.precision}
        return self

    def processor_seconds(self) -> float:
        return accounting.processor_seconds(self.process.pid)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "client"):
            self.client.close()
        super().__exit__(kind, error, trace)


class Served(Server):
    """Prompts go in as text, of words that are one token each; answers come back as text and counts."""

    word = "served"

    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]:
        call = self.client.generate if self.version.task == "generation" else self.client.translate
        texts = [self.vocabulary.text(prompt) for prompt in prompts]
        answers = call(self.checkpoint, texts, max_new_tokens=new_tokens, beams=beams)
        self._check([answer.usage for answer in answers], prompts, new_tokens)
        return [[] for _ in prompts]

    def _check(self, usages: Sequence[Usage], prompts: Tokens, new_tokens: int) -> None:
        counts = [(usage.input_tokens, usage.output_tokens) for usage in usages]
        if counts != [(len(prompt), new_tokens) for prompt in prompts]:
            raise RuntimeError(f"{self.name} read or wrote other counts of tokens: {counts}")


class Streamed(Served):
    """As Served, but each text is a stream of its own, read by a thread of its own."""

    word = "streamed"

    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]:
        def read(prompt: Sequence[int]) -> Usage | None:
            text = self.vocabulary.text(prompt)
            deltas = self.client.stream_generate(self.checkpoint, text, max_new_tokens=new_tokens)
            return [delta.usage for delta in deltas][-1]

        with ThreadPoolExecutor(len(prompts)) as readers:
            usages = [usage for usage in readers.map(read, prompts) if usage]
        self._check(usages, prompts, new_tokens)
        return [[] for _ in prompts]
