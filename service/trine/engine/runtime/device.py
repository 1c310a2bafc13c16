"""What graphs run on: the CPU, or one CUDA device. Engine process; also the export process, which verifies through it.

An onnxruntime with CUDA names its provider also where the driver or a library of CUDA is missing, and a session then falls back to
the CPU in silence. So `require` asks for memory on the device, which fails there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from trine.artifact import Manifest, Target
from trine.errors import NotPossible

logger = logging.getLogger(__name__)

RUNTIME = f"onnxruntime {ort.__version__}"
"""What graphs run with: figures of speed hold for one version."""

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Device:
    target: Target = Target.CPU
    index: int = 0

    def require(self) -> None:
        """Raise NotPossible unless onnxruntime can use the device."""
        if self.target is Target.CPU:
            return
        if _CUDA not in ort.get_available_providers():
            raise NotPossible("the installed onnxruntime has no CUDA provider; see docs/gpu.md")
        ort.preload_dlls()  # those that pip installed lie where the loader does not look
        try:
            self.zeros(1)
        except Exception as error:
            raise NotPossible(f"CUDA device {self.index} cannot be used; see docs/gpu.md") from error

    def require_written_for(self, manifest: Manifest) -> None:
        """Raise NotPossible for an artifact of another device."""
        if manifest.target is not self.target:
            raise NotPossible(
                f"the version was exported for {manifest.target}, and this server computes on {self.target}: register it again"
            )

    @property
    def providers(self) -> list[Any]:
        """Execution providers in order of preference, as a session takes them."""
        if self.target is Target.CPU:
            return [_CPU]
        return [(_CUDA, {"device_id": self.index, "arena_extend_strategy": "kSameAsRequested"}), _CPU]

    def zeros(self, words: int) -> ort.OrtValue:
        """Memory of the device, int64 [words], all zero."""
        return ort.OrtValue.ortvalue_from_numpy(np.zeros(words, np.int64), str(self.target), self.index)


CPU = Device()
