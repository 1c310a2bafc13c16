"""A padded graph on ONNX Runtime, threads set as ours are. Which graph, bench.encoder.graphs says.

python -m bench.workers.encoder_onnxruntime GRAPH THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime

from bench.workers.line import serve
from bench.workers.padding import padded


def main(path: str, threads: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def encode(sequences: list[list[int]]) -> list[list[float]]:
        feeds = padded(sequences)
        logits: list[list[float]] = session.run(None, {name: feeds[name] for name in names})[0].tolist()
        return logits

    serve({"onnxruntime": onnxruntime.__version__, "graph": Path(path).stem}, encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
