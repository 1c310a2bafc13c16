"""Part library: our runner against the libraries, the same token ids, equal and real lengths. The bench's process."""

from __future__ import annotations

from bench.encoder.lineup import Lineup
from bench.encoder.measuring import Run
from bench.encoder.options import EncoderOptions
from bench.encoder.work import EncoderWork
from bench.preparation import vocabulary
from bench.shapes import SHAPES

_TITLE = "Encoders against their peers, at library level"
_INTRO = "Token ids in, logits of a classifier out; each candidate is a library in a process of its own, which gets a whole batch at once."


def measure(options: EncoderOptions) -> str:
    """Returns the page."""
    run = Run(options, "encoders-library", _TITLE, _INTRO)
    for name in options.shapes:
        shape = SHAPES[name]
        lineup = Lineup(shape, options)
        candidates = lineup.library()
        run.left_out += lineup.left_out
        works = [EncoderWork(name, kind) for kind in options.works]
        run.measure(works, candidates, vocabulary(shape, options))
    return run.write()
