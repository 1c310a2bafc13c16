"""What is measured: a process that answers prompts, and whose processor time is told. The bench's own process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bench import accounting
from bench.shapes import Tokens


class Measurable(Protocol):
    """A context: entered, it is loaded and waits."""

    name: str

    @property
    def facts(self) -> dict[str, str]:
        """Versions, and the form of its numbers."""

    def processor_seconds(self) -> float: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Candidate(Measurable, Protocol):
    """One that generates."""

    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]:
        """The new tokens of each prompt; empty lists where the candidate answers in text. Raises RuntimeError for other lengths."""


class Worker:
    """A library in a process of its own, one of bench.workers: a line of JSON in, a line of JSON out."""

    def __init__(
        self,
        name: str,
        python: Path,
        module: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.facts: dict[str, str] = {}
        self._command = [str(python), "-W", "ignore", "-m", f"bench.workers.{module}", *arguments]
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | self._environment,
            )
        self.facts = self._read()
        return self

    def generate(self, prompts: Tokens, new_tokens: int, beams: int = 1) -> list[list[int]]:
        request = {"prompts": prompts, "new_tokens": new_tokens} | ({"beams": beams} if beams > 1 else {})
        return self._ask(request, [new_tokens] * len(prompts))

    def generate_ragged(self, prompts: Tokens, lengths: Sequence[int]) -> list[list[int]]:
        """Greedy, with a length for each answer. CTranslate2's worker only."""
        request = {"prompts": prompts, "new_tokens": max(lengths), "lengths": list(lengths)}
        return self._ask(request, list(lengths))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """What the worker's function answers to these arguments."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _ask(self, request: Mapping[str, Any], lengths: list[int]) -> list[list[int]]:
        answers: list[list[int]] = self.ask(request)
        if [len(answer) for answer in answers] != lengths:
            raise RuntimeError(f"{self.name} wrote other numbers of tokens than it was asked for")
        return answers

    def processor_seconds(self) -> float:
        return accounting.processor_seconds(self._process.pid)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended; see {self._log}")
        return json.loads(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if error is not None:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
