"""The floors of generation and of encoders, and whether a figure reaches them. Pure."""

from __future__ import annotations

from bench.rounds import Measured
from bench.shapes import Work
from bench.summary import Spread, ratio

OURS = ("runtime", "served")
"""Levels: our runners alone, and the whole server over gRPC. The floors are the server's."""
PYTORCH, OPTIMUM = "PyTorch fp32", "optimum-onnx fp32"

FLOORS: dict[str, dict[int, dict[str, float]]] = {
    "gpt2": {1: {"int8": 1.6, "fp32": 1.05}, 8: {"int8": 1.25, "fp32": 1.2}, 32: {"int8": 1.0, "fp32": 1.05}},
    "marian": {1: {"int8": 1.7, "fp32": 1.2}, 8: {"int8": 1.3, "fp32": 1.25}, 32: {"int8": 0.9, "fp32": 1.1}},
}
"""Architecture, batch, precision: the least multiple of CTranslate2 in the same precision, in tokens of a processor-second."""
BEAM: dict[str, dict[int, float]] = {"marian": {8: 1.0}}
"""Architecture, batch: the same with 4 beams, in either precision."""
AGAINST_PYTORCH = 2.0
SHORT = {"gpt2": 32, "marian": 24}
"""Input tokens of the work that the floors speak of."""

FIRST_TOKEN = 0.5
"""Poisson arrivals: most that our p95 time to first token may be, in multiples of the library's."""
GAP, PROMPT = 3.0, 2.5
"""A long prompt beside streams: most that the inter-token p99 may be, in multiples of the undisturbed one; and that the prompt's time
to first token may be, in multiples of its time alone."""
_INT8_ENCODERS = {
    "CTranslate2 int8": 1.0,
    "OpenVINO fp32": 2.0,
    "onnxruntime int8": 1.5,
    "onnxruntime fused int8": 1.5,
}
_EQUAL_LENGTHS = {"onnxruntime fused fp32": 0.9, "onnxruntime fp32": 0.9}
"""Which of the two is faster, depends on the shape: the floor is that of both."""
ENCODERS: dict[tuple[str, str], dict[str, float]] = {
    ("ragged", "runtime int8"): _INT8_ENCODERS,
    ("16x64", "runtime fp32"): _EQUAL_LENGTHS,
    ("8x128", "runtime fp32"): _EQUAL_LENGTHS,
    **{
        (kind, f"served {p}"): {f"runtime {p}": 0.95}
        for kind in ("ragged", "16x64")
        for p in ("fp32", "int8")
    },
    **{("stream", f"streamed {precision}"): {f"runtime {precision}": 0.8} for precision in ("fp32", "int8")},
}
"""Kind of work and ours: the least multiple of the peer's sequences of a processor-second."""
BESIDE = 2.0
"""A single caller beside one that sends 64 inputs a call: most that its p99 may grow, in multiples of the longest batch."""
OVERHEAD = 0.15
"""Most milliseconds of processor time that front and engine may add to a token at batch 8."""


def at_least(value: float, floor: float) -> str:
    return f"{floor:g}: {'reached' if value >= floor else '**missed**'}"


def at_most(value: float, floor: float, unit: str = "") -> str:
    """The value, the floor, and whether it holds."""
    unit = f" {unit}" if unit else ""
    return f"{value:.2g}{unit} (at most {floor:g}{unit}: {'reached' if value <= floor else '**missed**'})"


Ratio = tuple[str, str, Spread, float | None]
"""Ours, the peer, how many times as many tokens or sequences of a processor-second, and the floor where there is one."""


def ratios(measured: Measured[Work], architecture: str) -> list[Ratio]:
    found = []
    for level in OURS:
        for precision in ("int8", "fp32"):
            ours = f"{level} {precision}"
            for peer in (f"CTranslate2 {precision}", PYTORCH, OPTIMUM):
                if {ours, peer} <= measured.samples.keys():
                    value = ratio(measured.samples[ours], measured.samples[peer])
                    floor = _floor(measured, architecture, precision, peer) if level == "served" else None
                    found.append((ours, peer, value, floor))
    return found


def _floor(measured: Measured[Work], architecture: str, precision: str, peer: str) -> float | None:
    work = measured.work
    if work.input_tokens != SHORT[architecture] or peer == OPTIMUM:
        return None
    if peer == PYTORCH:
        return AGAINST_PYTORCH
    if work.beams > 1:
        return BEAM.get(architecture, {}).get(work.batch)
    return FLOORS[architecture].get(work.batch, {}).get(precision)
