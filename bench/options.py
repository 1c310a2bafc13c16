"""The command line of the bench: what is asked for, frozen. The bench's process."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SLOTS = 32
"""Sequences that run at once: the largest batch."""
PARTS = ("closed", "overhead", "arrivals", "interference")


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path
    results: Path
    parts: tuple[str, ...]
    rounds: int
    threads: int
    minutes: float
    tiny: bool
    full: bool

    def shape(self, architecture: str) -> str:
        """Name of the shape that stands for gpt2 or marian."""
        if self.tiny:
            return f"{architecture}-tiny"
        return {"gpt2": "gpt2-124m", "marian": "marian-6-6"}[architecture]


def parse(description: str) -> Options:
    """From the process's arguments; ends the process where they are wrong. Makes the folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.generation", description=description)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "bench", help="checkpoints, exports, environments"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; default: all"
    )
    parser.add_argument("--rounds", type=int, help="of the closed batches; default: 5, or 1 with --tiny")
    parser.add_argument("--threads", type=int, default=2, help="of each candidate")
    parser.add_argument(
        "--minutes", type=float, default=13, help="no further closed batch is begun after that"
    )
    parser.add_argument("--tiny", action="store_true", help="tiny checkpoints: do all parts work?")
    parser.add_argument(
        "--full", action="store_true", help="also 32 prompts of 256 tokens, which takes 10 minutes more"
    )
    found = vars(parser.parse_args())
    found["rounds"] = found["rounds"] or (1 if found["tiny"] else 5)
    found["folder"].mkdir(parents=True, exist_ok=True)
    return Options(**found | {"parts": tuple(part for part in PARTS if part in found["parts"])})
