"""The command lines of the benches: what is asked for, frozen. The bench's process."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
SLOTS = 32
"""Sequences that run at once: the largest batch."""
PARTS = ("closed", "overhead", "arrivals", "interference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every bench is asked."""

    folder: Path
    results: Path
    parts: tuple[str, ...]
    rounds: int
    threads: int
    tiny: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Common):
    """Of the bench of generation."""

    minutes: float
    full: bool

    def shape(self, architecture: str) -> str:
        """Name of the shape that stands for gpt2 or marian."""
        if self.tiny:
            return f"{architecture}-tiny"
        return {"gpt2": "gpt2-124m", "marian": "marian-6-6"}[architecture]


def parse(description: str) -> Options:
    """From the process's arguments; ends the process where they are wrong. Makes the folder."""
    parser = common("bench.generation", description, PARTS)
    parser.add_argument(
        "--minutes", type=float, default=13, help="no further closed batch is begun after that"
    )
    parser.add_argument(
        "--full", action="store_true", help="also 32 prompts of 256 tokens, which takes 10 minutes more"
    )
    return Options(**read(parser, PARTS))


def common(program: str, description: str, parts: Sequence[str]) -> argparse.ArgumentParser:
    """A parser of what every bench is asked."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "bench", help="checkpoints, exports, environments"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--parts", nargs="+", choices=parts, default=parts, help="what to measure; default: all"
    )
    parser.add_argument("--rounds", type=int, help="of the closed batches; default: 5, or 1 with --tiny")
    parser.add_argument("--threads", type=int, default=2, help="of each candidate")
    parser.add_argument("--tiny", action="store_true", help="tiny checkpoints: do all parts work?")
    return parser


def read(parser: argparse.ArgumentParser, parts: Sequence[str]) -> dict[str, Any]:
    """The process's arguments, with the parts in their order; ends the process where they are wrong. Makes the folder."""
    found = vars(parser.parse_args())
    found["rounds"] = found["rounds"] or (1 if found["tiny"] else 5)
    found["folder"].mkdir(parents=True, exist_ok=True)
    return found | {"parts": tuple(part for part in parts if part in found["parts"])}
