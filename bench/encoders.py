"""Encoders: our runner and our server against their peers. READ THIS FIRST for this bench.

    python -m bench.encoders                          all parts, about 10 minutes, plus 5 the first time
    python -m bench.encoders --tiny                   to see that all parts work; the figures mean nothing
    python -m bench.encoders --parts library --shapes bert-base --works ragged --only "runtime int8" "CTranslate2 int8"

Prepares what is missing under var/bench, runs the parts one after another, and writes of each a table, a plot and all samples to
bench/results; then encoders-promises.md there, the floors with what was measured, which goes into docs/promises.md as well. A run
of less than a whole part writes files of its own (named partial), and leaves the promises as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench import promises
from bench.encoder import caller, library, wire
from bench.encoder.options import EncoderOptions, parse
from bench.encoder.preparation import prepare
from bench.encoder.promises import PARTS as TOLD
from bench.preparation import tell

PARTS: Mapping[str, Callable[[EncoderOptions], str]] = {
    "library": library.measure,
    "wire": wire.measure,
    "caller": caller.measure,
}


def main() -> None:
    options = parse(str(__doc__).split("\n", 1)[0])
    for shape in options.shapes:
        prepare(shape, options)
    for part in options.parts:
        tell(f"part: {part}")
        print(PARTS[part](options))
    if not options.partial:
        promises.tell(options, TOLD, "bench.encoders", "encoders-promises")


if __name__ == "__main__":
    main()
