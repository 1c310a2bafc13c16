"""Part wire: our server over gRPC against our bare runner, the same batches. The bench's process."""

from __future__ import annotations

from bench.encoder.lineup import Lineup
from bench.encoder.measuring import Run
from bench.encoder.options import EncoderOptions
from bench.encoder.work import IN_FLIGHT, STREAM, EncoderWork
from bench.preparation import vocabulary
from bench.shapes import SHAPES

_TITLE = "Encoders over gRPC"
_INTRO = (
    "`runtime` is our runner in a process of its own; `served` is server and engine, all texts in one call, which the engine runs as one "
    "batch; `streamed` is the same server at its defaults, with one stream in both directions, against the bare runner with all that may be in flight "
    f"({IN_FLIGHT} texts) in each batch. The client is left out of the processor time, but takes its part of the machine, and so of the wall time."
)
_CALLED, _STREAMED = ("bert-base", "bert-tiny"), ("minilm-6", "bert-tiny")
"""Shapes."""
_KINDS = ("ragged", "16x64")


def measure(options: EncoderOptions) -> str:
    """Calls on the large shape, streams on the small one. Returns the page."""
    run = Run(options, "encoders-wire", _TITLE, _INTRO)
    for name in options.shapes:
        shape = SHAPES[name]
        lineup = Lineup(shape, options)
        words = vocabulary(shape, options)
        if name in _CALLED:
            works = [EncoderWork(name, kind) for kind in _KINDS if kind in options.works]
            run.measure(works, lineup.called(words), words)
        if name in _STREAMED:
            run.measure([EncoderWork(name, STREAM)], lineup.streaming(words), words)
    return run.write()
