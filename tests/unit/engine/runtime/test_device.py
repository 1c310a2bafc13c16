"""What graphs run on. There is no CUDA device here, so what is tested is what is said of that."""

from __future__ import annotations

from collections.abc import Callable

import onnxruntime as ort
import pytest

from trine.artifact import Artifact, Family, Target
from trine.engine.runtime import device
from trine.engine.runtime.device import CPU, Device
from trine.errors import NotPossible

CUDA = Device(Target.CUDA, 1)


def test_the_cpu_is_always_there() -> None:
    CPU.require()
    assert CPU.providers == ["CPUExecutionProvider"]
    assert CPU.zeros(3).numpy().tolist() == [0, 0, 0]


def test_an_onnxruntime_without_cuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NotPossible, match="has no CUDA provider"):
        CUDA.require()


def test_a_provider_that_is_only_named_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the driver is missing: onnxruntime names the provider, would run on the CPU, and gives no memory."""

    class NoMemory:
        @staticmethod
        def ortvalue_from_numpy(*_: object) -> None:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")

    monkeypatch.setattr(ort, "get_available_providers", lambda: [device._CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "OrtValue", NoMemory)
    with pytest.raises(NotPossible, match="CUDA device 1 cannot be used") as raised:
        CUDA.require()
    assert "failure" not in raised.value.message


def test_cuda_is_asked_for_by_number() -> None:
    (name, options), fallback = CUDA.providers
    assert (name, options["device_id"], fallback) == ("CUDAExecutionProvider", 1, "CPUExecutionProvider")


def test_an_artifact_of_another_device_is_refused(artifact_of: Callable[..., Artifact]) -> None:
    plain = artifact_of(Family.DECODER).manifest
    CPU.require_written_for(plain)
    with pytest.raises(NotPossible, match="exported for cpu, and this server computes on cuda"):
        CUDA.require_written_for(plain)
    with pytest.raises(NotPossible, match="exported for cuda, and this server computes on cpu"):
        CPU.require_written_for(artifact_of(Family.DECODER, target=Target.CUDA).manifest)
