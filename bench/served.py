"""The real server, called over gRPC: `trine serve` in a process of its own, with one engine. The client is the bench's process.

The processor time is that of the server and its engine. The client's, which stands for a caller elsewhere, is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import trine
from bench import accounting
from bench.candidate import Tokens
from trine.client import Client

_TIMEOUT = 600.0


class Served:
    """Prompts go in as text, of words that are one token each; answers come back as text and counts."""

    def __init__(
        self,
        name: str,
        checkpoint: str,
        folder: Path,
        words: Mapping[int, str],
        settings: Mapping[str, object],
    ) -> None:
        self.name = name
        self.facts: dict[str, str] = {}
        self._checkpoint = checkpoint
        self._words = words
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._ports_file = folder / f"{name.replace(' ', '-')}.ports"
        self._environment = {f"TRINE_{key.upper()}": str(value) for key, value in settings.items()} | {
            "TRINE_GRPC_PORT": "0",
            "TRINE_HTTP_PORT": "0",
            "TRINE_ADMIN_PORT": "0",
            "TRINE_PORTS_FILE": str(self._ports_file),
            "TRINE_LOAD": "none",
        }
        self._process: subprocess.Popen[bytes]
        self._client: Client
        self._generates = False

    def __enter__(self) -> Self:
        self._ports_file.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trine.cli", "serve"],
                env=os.environ | self._environment,
                stdout=log,
                stderr=log,
            )
        ports = self._wait_for_ports()
        self._client = Client(f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['admin']}", timeout=_TIMEOUT)
        version = self._client.load(self._checkpoint)
        self._generates = version.task == "generation"
        self.facts = {"trine": trine.__version__, "over": "gRPC", "numbers": version.precision}
        return self

    def _wait_for_ports(self) -> dict[str, int]:
        while not self._ports_file.exists():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server did not start; see {self._log}")
            time.sleep(0.02)
        ports: dict[str, int] = json.loads(self._ports_file.read_text())
        return ports

    def generate(self, prompts: Tokens, new_tokens: int) -> list[list[int]]:
        call = self._client.generate if self._generates else self._client.translate
        answers = call(self._checkpoint, self._texts(prompts), max_new_tokens=new_tokens)
        counts = [(answer.usage.input_tokens, answer.usage.output_tokens) for answer in answers]
        if counts != [(len(prompt), new_tokens) for prompt in prompts]:
            raise RuntimeError(f"{self.name} read or wrote other counts of tokens: {counts}")
        return [[] for _ in prompts]

    def _texts(self, prompts: Tokens) -> list[str]:
        return [
            "".join(f" {self._words[token]}" for token in prompt if token in self._words)
            for prompt in prompts
        ]

    def processor_seconds(self) -> float:
        return accounting.processor_seconds(self._process.pid)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_client"):
            self._client.close()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def settings(repository: Path, threads: int, slots: int, cache_bytes: int) -> dict[str, object]:
    """The server's settings that the bench sets; all others are the defaults."""
    return {
        "repository": repository,
        "import_root": repository,
        "engine_threads": threads,
        "engine_max_slots": slots,
        "engine_cache_bytes": cache_bytes,
    }
