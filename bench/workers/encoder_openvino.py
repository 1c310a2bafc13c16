"""The padded graph on OpenVINO in an environment of its own (bench.openvino_setup), float32.

python -m bench.workers.encoder_openvino GRAPH THREADS
"""

from __future__ import annotations

import sys

import openvino  # type: ignore[import-not-found, unused-ignore]

from bench.workers.line import serve
from bench.workers.padding import padded


def main(path: str, threads: str) -> None:
    settings = {
        "INFERENCE_NUM_THREADS": int(threads),
        "NUM_STREAMS": 1,
        # where the processor has bfloat16, OpenVINO would take that
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = openvino.Core().compile_model(path, "CPU", settings)
    request = model.create_infer_request()
    names = [value.any_name for value in model.inputs]

    def encode(sequences: list[list[int]]) -> list[list[float]]:
        feeds = padded(sequences)
        outputs = request.infer({name: feeds[name] for name in names})
        logits: list[list[float]] = outputs[model.output(0)].tolist()
        return logits

    precision = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    serve({"openvino": openvino.__version__, "numbers": precision}, encode)


if __name__ == "__main__":
    main(*sys.argv[1:])
