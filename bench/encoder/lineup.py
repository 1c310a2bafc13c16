"""Which processes are measured, each made ready to be entered. The bench's process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench import ctranslate2_setup
from bench.candidate import Measurable, Worker
from bench.encoder import preparation
from bench.encoder.options import EncoderOptions
from bench.encoder.served import Called, Reachable, Streaming, WholeBatches
from bench.encoder.work import CLASSIFIER, IN_FLIGHT
from bench.lineup import COMPUTE_TYPES, PASSIVE
from bench.options import ROOT
from bench.preparation import ctranslate2, why
from bench.served import Settings
from bench.shapes import Shape, Tokens, Vocabulary

PRECISIONS = ("fp32", "int8")
_GRAPHS = {
    "onnxruntime fp32": "plain",
    "onnxruntime fused fp32": "fused",
    "onnxruntime int8": "plain-int8",
    "onnxruntime fused int8": "fused-int8",
}


class EncoderWorker(Worker):
    """A library that reads sequences."""

    most = 0
    """Sequences of one batch; 0: all that come."""

    def encode(self, sequences: Tokens) -> list[list[float]]:
        """Logits of each. Raises RuntimeError for another number of them."""
        size = self.most or len(sequences)
        answers: list[list[float]] = []
        for start in range(0, len(sequences), size):
            answers += self.ask({"sequences": sequences[start : start + size]})
        if len(answers) != len(sequences):
            raise RuntimeError(f"{self.name} answered {len(answers)} of {len(sequences)} sequences")
        return answers


class Lineup:
    """Makes the candidates of one shape."""

    def __init__(self, shape: Shape, options: EncoderOptions) -> None:
        self._shape = shape
        self._options = options
        self._home = options.folder / shape.name
        self._repository = options.folder / "repository"
        self.left_out: list[str] = []
        """Which candidates cannot be had here, and why."""

    def library(self) -> list[EncoderWorker]:
        """All that are asked for and can be had, in the order in which a round runs them."""
        makers: dict[str, Callable[[str], EncoderWorker]] = {}
        makers |= dict.fromkeys(("runtime fp32", "runtime int8"), self.runtime)
        makers |= dict.fromkeys((f"runtime {name}" for name in self._artifacts()), self.runtime)
        makers |= dict.fromkeys(("CTranslate2 fp32", "CTranslate2 int8"), self.ctranslate2)
        makers |= dict.fromkeys(_GRAPHS, self.onnxruntime)
        makers |= {"OpenVINO fp32": self.openvino, "PyTorch fp32": self.pytorch}
        only = self._options.only or tuple(makers)
        found = (self._made(name, make) for name, make in makers.items() if name in only)
        return [one for one in found if one is not None]

    def called(self, words: Vocabulary) -> Iterator[Measurable]:
        """Our runner and our server, with the same batches."""
        settings = WholeBatches(self._repository, self._options.threads)
        for precision in PRECISIONS:
            yield self.runtime(f"runtime {precision}")
            yield Called(f"served {precision}", self._checkpoint(precision), self._home, words, settings)

    def streaming(self, words: Vocabulary) -> Iterator[Measurable]:
        """Our runner with the largest batches that a stream can make, and our server at its defaults."""
        settings = Settings(self._repository, self._options.threads)
        for precision in PRECISIONS:
            runner = self.runtime(f"runtime {precision}")
            runner.most = IN_FLIGHT
            yield runner
            yield Streaming(f"streamed {precision}", self._checkpoint(precision), self._home, words, settings)

    def reachable(self, precision: str, words: Vocabulary) -> Called:
        """Our server at its defaults, for callers from several addresses."""
        settings = Reachable(self._repository, self._options.threads)
        return Called(f"reachable {precision}", self._checkpoint(precision), self._home, words, settings)

    def _made(self, name: str, make: Callable[[str], EncoderWorker]) -> EncoderWorker | None:
        try:
            return make(name)
        except subprocess.CalledProcessError as error:
            self.left_out.append(f"{self._shape.name}, {name}: {why(error)}")
            return None

    def _checkpoint(self, precision: str) -> str:
        """The name that it is published under."""
        return f"{self._shape.name}-{precision}"

    def _artifacts(self) -> dict[str, str]:
        return dict(one.split("=", 1) for one in self._options.artifact)

    def runtime(self, name: str) -> EncoderWorker:
        kind = name.partition(" ")[2]
        published = self._repository / self._checkpoint(kind)
        folder = self._artifacts().get(kind) or str(published / "1" / "artifact")
        return self._worker(name, Path(sys.executable), "runtime", [folder], {})

    def ctranslate2(self, name: str) -> EncoderWorker:
        compute_type = COMPUTE_TYPES[name.rsplit(maxsplit=1)[-1]]
        folder = ctranslate2(self._shape, self._options, compute_type)
        arguments = [str(folder), str(self._home / "checkpoint" / CLASSIFIER), compute_type]
        python = ctranslate2_setup.environment(self._options.folder)
        environment = PASSIVE | {
            "OMP_NUM_THREADS": str(self._options.threads),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        return self._worker(name, python, "ctranslate2", arguments, environment)

    def onnxruntime(self, name: str) -> EncoderWorker:
        graph = preparation.padded_graphs(self._shape, self._options) / f"{_GRAPHS[name]}.onnx"
        return self._worker(name, Path(sys.executable), "onnxruntime", [str(graph)], {})

    def openvino(self, name: str) -> EncoderWorker:
        graph = preparation.padded_graphs(self._shape, self._options) / "plain.onnx"
        python = preparation.openvino(self._options)
        return self._worker(name, python, "openvino", [str(graph)], {"PYTHONPATH": str(ROOT)})

    def pytorch(self, name: str) -> EncoderWorker:
        environment = PASSIVE | {"HF_HUB_OFFLINE": "1"}
        folder = str(self._home / "checkpoint")
        return self._worker(name, Path(sys.executable), "pytorch", [folder], environment)

    def _worker(
        self, name: str, python: Path, module: str, arguments: list[str], environment: Mapping[str, str]
    ) -> EncoderWorker:
        log = self._home / f"{name.replace(' ', '-')}.log"
        every = [*arguments, str(self._options.threads)]
        return EncoderWorker(name, python, f"encoder_{module}", every, log, environment)
