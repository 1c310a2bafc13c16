"""Which processes are measured, each made ready to be entered. The bench's process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bench import ctranslate2_setup, floors, optimum_setup
from bench.candidate import Candidate, Worker
from bench.options import ROOT, SLOTS, Options
from bench.served import CacheSettings, Served
from bench.shapes import Shape, Vocabulary

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""The peers' threads sleep while they wait for one another, as ours do: on a busy machine spinning would count against them."""
COMPUTE_TYPES = {"fp32": "float32", "int8": "int8"}


class Lineup:
    """Makes the candidates of one shape."""

    def __init__(self, shape: Shape, vocabulary: Vocabulary, options: Options) -> None:
        self._shape = shape
        self._vocabulary = vocabulary
        self._options = options
        self._home = options.folder / shape.name

    def greedy(self, optimum: bool) -> Iterator[Candidate]:
        """All, in the order in which a round runs them."""
        for precision in ("fp32", "int8"):
            yield self.runtime(precision)
            yield self.served(precision)
            yield self.ctranslate2(precision)
        yield self.pytorch()
        if optimum:
            yield self.optimum()

    def beams(self) -> Iterator[Candidate]:
        """Those that search with beams: our runners alone know no search."""
        for precision in ("fp32", "int8"):
            yield self.served(precision)
            yield self.ctranslate2(precision)
        yield self.pytorch()

    def runtime(self, precision: str) -> Worker:
        repository = self._options.folder / "repository"
        artifact = repository / f"{self._shape.name}-{precision}" / "1" / "artifact"
        arguments = [str(artifact), str(self._options.threads), str(SLOTS)]
        log = self._home / f"runtime-{precision}.log"
        return Worker(f"runtime {precision}", Path(sys.executable), "runtime", arguments, log, {})

    def served(self, precision: str, kind: type[Served] = Served) -> Served:
        settings = CacheSettings(
            self._options.folder / "repository", self._options.threads, SLOTS, self._shape.cache_bytes
        )
        checkpoint = f"{self._shape.name}-{precision}"
        return kind(f"{kind.word} {precision}", checkpoint, self._home, self._vocabulary, settings)

    def ctranslate2(self, precision: str) -> Worker:
        python = ctranslate2_setup.environment(self._options.folder)
        compute_type, threads = COMPUTE_TYPES[precision], str(self._options.threads)
        arguments = [str(self._home / f"ctranslate2-{compute_type}"), compute_type, threads]
        log = self._home / f"ctranslate2-{precision}.log"
        environment = PASSIVE | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        return Worker(f"CTranslate2 {precision}", python, "ctranslate2", arguments, log, environment)

    def pytorch(self) -> Worker:
        arguments = [str(self._home / "checkpoint"), str(self._options.threads)]
        environment = PASSIVE | {"HF_HUB_OFFLINE": "1"}
        log = self._home / "pytorch.log"
        return Worker(floors.PYTORCH, Path(sys.executable), "pytorch", arguments, log, environment)

    def optimum(self) -> Worker:
        python = optimum_setup.environment(self._options.folder)
        arguments = [str(self._home / "optimum"), str(self._options.threads)]
        environment = PASSIVE | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        log = self._home / "optimum.log"
        return Worker(floors.OPTIMUM, python, "optimum_onnx", arguments, log, environment)
