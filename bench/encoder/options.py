"""The command line of the bench of encoders. The bench's process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.encoder.work import LIBRARY
from bench.options import Common, common, read

PARTS = ("library", "wire", "caller")
SHAPES = ("bert-base", "minilm-6")
TINY = ("bert-tiny",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions(Common):
    shapes: tuple[str, ...]
    works: tuple[str, ...]
    only: tuple[str, ...]
    """Names of the candidates that are measured; empty: all."""
    artifact: tuple[str, ...]
    """NAME=FOLDER: further artifacts of the shape, measured as `runtime NAME`."""
    data: Path | None
    """A folder of texts whose lengths are taken; None: those that are stored."""
    again: bool

    @property
    def partial(self) -> bool:
        """Whether less than everything is measured, so that the tables of a whole run must stay."""
        return (
            bool(self.only or self.artifact)
            or set(self.works) != set(LIBRARY)
            or self.shapes not in (SHAPES, TINY)
        )

    def named(self, part: str) -> str:
        """Of a part's files."""
        return f"{part}-partial" if self.partial else part


def parse(description: str) -> EncoderOptions:
    """From the process's arguments; ends the process where they are wrong. Makes the folder."""
    parser = common("bench.encoders", description, PARTS)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES)
    parser.add_argument(
        "--works", nargs="+", choices=LIBRARY, default=tuple(LIBRARY), help="of parts library and wire"
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="CANDIDATE", help="of part library, as: 'runtime int8'"
    )
    parser.add_argument(
        "--artifact",
        nargs="+",
        default=(),
        metavar="NAME=FOLDER",
        help="of part library: measure also this artifact of the shape, as 'runtime NAME'",
    )
    parser.add_argument(
        "--data", type=Path, help="take the lengths of the texts there; default: lengths.json"
    )
    parser.add_argument("--again", action="store_true", help="export our artifacts anew first")
    found = read(parser, PARTS)
    found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    if found["tiny"]:
        found["shapes"] = TINY
    return EncoderOptions(**found)
