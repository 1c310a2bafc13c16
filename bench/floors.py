"""The floors of the generation engine: tokens per processor-second of our server, in multiples of a peer's library. Pure."""

from __future__ import annotations

from bench.rounds import Measured
from bench.summary import Spread, ratio

OURS = ("runtime", "served")
"""Levels: our runners alone, and the whole server over gRPC. The floors are the server's."""
PYTORCH = "PyTorch fp32"

FLOORS: dict[str, dict[int, dict[str, float]]] = {
    "gpt2": {1: {"int8": 1.6, "fp32": 1.05}, 8: {"int8": 1.25, "fp32": 1.2}, 32: {"int8": 1.0, "fp32": 1.05}},
    "marian": {1: {"int8": 1.7, "fp32": 1.2}, 8: {"int8": 1.3, "fp32": 1.25}, 32: {"int8": 0.9, "fp32": 1.1}},
}
"""Architecture, batch, precision: the least multiple of CTranslate2 in the same precision."""
AGAINST_PYTORCH = 2.0
SHORT = {"gpt2": 32, "marian": 24}
"""Input tokens of the work that the floors speak of."""


def ratios(measured: Measured, architecture: str) -> list[tuple[str, str, Spread, float | None]]:
    """(ours, peer, how many times as many tokens of a processor-second, the floor where there is one)."""
    found = []
    for level in OURS:
        for precision in ("int8", "fp32"):
            ours = f"{level} {precision}"
            for peer in (f"CTranslate2 {precision}", PYTORCH):
                if {ours, peer} <= measured.samples.keys():
                    value = ratio(measured.samples[ours], measured.samples[peer])
                    floor = _floor(measured, architecture, precision, peer) if level == "served" else None
                    found.append((ours, peer, value, floor))
    return found


def _floor(measured: Measured, architecture: str, precision: str, peer: str) -> float | None:
    if measured.work.input_tokens != SHORT[architecture]:
        return None
    if peer == PYTORCH:
        return AGAINST_PYTORCH
    return FLOORS[architecture].get(measured.work.batch, {}).get(precision)
