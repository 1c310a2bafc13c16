"""Generation: our runners and our server against CTranslate2, PyTorch and optimum-onnx. READ THIS FIRST.

    python -m bench.generation                        all parts, at most 25 minutes, plus about 3 the first time, for the checkpoints
    python -m bench.generation --parts arrivals       one part
    python -m bench.generation --tiny                 about a minute, to see that all parts work; the figures mean nothing

Prepares what is missing under var/bench, runs the parts one after another, and writes of each a table, a plot and all samples to
bench/results; then promises.md there, the floors with what was measured, which goes into docs/promises.md as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench import arrivals, closed, interference, overhead, promises
from bench.options import Options, parse
from bench.preparation import tell

PARTS: Mapping[str, Callable[[Options], None]] = {
    "closed": closed.measure,
    "overhead": overhead.measure,
    "arrivals": arrivals.measure,
    "interference": interference.measure,
}


def main() -> None:
    options = parse(str(__doc__).split("\n", 1)[0])
    for part in options.parts:
        tell(f"part: {part}")
        PARTS[part](options)
    promises.tell(options, promises.PARTS, "bench.generation")


if __name__ == "__main__":
    main()
