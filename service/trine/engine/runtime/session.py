"""One ONNX graph of an artifact, opened and run. Engine process, step thread; also the export process, which verifies through it.

Every error of ONNX Runtime ends here: a graph that cannot be opened is `ArtifactCorrupt`, a run that fails is `Bug`, both in
our own words; the cause is chained for the log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from trine.artifact import Artifact
from trine.engine.runtime.device import CPU, Device
from trine.errors import ArtifactCorrupt, Bug

logger = logging.getLogger(__name__)

Feeds = Mapping[str, NDArray[Any]]
_FATAL = 4
_SPIN_US = "20"
"""Microseconds; the gap between two parallel parts of a decode step is of that order."""


class Graph:
    """An inference session that is fed the inputs its graph names, and no others."""

    def __init__(self, artifact: Artifact, file: str, threads: int, device: Device = CPU) -> None:
        """Open `file` of the artifact, its weights beside it. Raises ArtifactCorrupt."""
        path = artifact.path(file)
        try:
            self._session = ort.InferenceSession(str(path), _options(threads), providers=device.providers)
        except Exception as error:
            raise ArtifactCorrupt(f"the graph {file} cannot be loaded") from error
        self.file = file
        self.inputs = frozenset(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def require(self, known: Collection[str], outputs: Collection[str]) -> None:
        """Raise ArtifactCorrupt unless all inputs are among `known` and all of `outputs` are there."""
        if not self.inputs <= set(known) or not set(outputs) <= set(self.outputs):
            raise ArtifactCorrupt(f"the graph {self.file} has other inputs or outputs than this server knows")

    def width(self, output: str) -> int | None:
        """Last dimension of an output, where the graph states it."""
        shape = self._session.get_outputs()[self.outputs.index(output)].shape
        return shape[-1] if shape and isinstance(shape[-1], int) else None

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        """All outputs, in the order of `self.outputs`."""
        try:
            wanted = {name: feeds[name] for name in self.inputs}
            return self._session.run(None, wanted)  # type: ignore[no-any-return]
        except Exception as error:
            raise self._failed() from error

    def bind(self) -> ort.IOBinding:
        return self._session.io_binding()

    def run_bound(self, binding: ort.IOBinding, feeds: Feeds) -> None:
        """Run with what is bound already and with `feeds`, whose memory is read in place. The GIL is released meanwhile."""
        try:
            for name, value in feeds.items():
                if name in self.inputs:
                    binding.bind_cpu_input(name, value)
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise self._failed() from error

    def _failed(self) -> Bug:
        logger.exception("a run of %s failed", self.file)
        return Bug(f"the graph {self.file} did not run")


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL  # all else is raised as well, and we log it once
    options.enable_mem_pattern = False  # patterns are kept for each input shape, and ours never repeat
    # Threads that wait within a run spin for a moment and then sleep, else they burn the time of whoever shares their cores
    # (docs/decisions/0011); those that spin after it are stopped, which costs 15 us a run and saves 75 ms of a core
    # (docs/decisions/0007).
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
