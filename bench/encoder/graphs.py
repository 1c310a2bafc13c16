"""The graphs that ONNX Runtime's and OpenVINO's users run: exported by optimum, padded; fused; in stock int8. Needs onnx.

    python -m bench.encoder.graphs SOURCE TARGET HEADS HIDDEN

reads SOURCE/model.onnx (bench.optimum_setup) and writes TARGET/plain.onnx, plain-int8.onnx, fused.onnx and fused-int8.onnx.
`fused`: onnxruntime.transformers' optimizer for BERT, as ONNX Runtime's guide says. int8: onnxruntime.quantization's dynamic
quantization, signed weights with one scale for each matrix, which is its default.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer


def write(source: Path, target: Path, heads: int, hidden: int) -> None:
    target.mkdir(parents=True)
    plain, fused = target / "plain.onnx", target / "fused.onnx"
    shutil.copy(source / "model.onnx", plain)
    fusing = optimizer.optimize_model(str(plain), "bert", num_heads=heads, hidden_size=hidden, opt_level=0)
    fusing.save_model_to_file(str(fused))
    counts = fusing.get_fused_operator_statistics()
    print(counts)
    if not counts["Attention"] and not counts["MultiHeadAttention"]:
        raise RuntimeError("the optimizer found no attention to fuse")
    for path in (plain, fused):
        quantize_dynamic(
            path,
            path.with_name(f"{path.stem}-int8.onnx"),
            weight_type=QuantType.QInt8,
            extra_options={
                "DefaultTensorType": TensorProto.FLOAT
            },  # shapes are not inferred through fused nodes
        )


def main(source: str, target: str, heads: str, hidden: str) -> None:
    staging = Path(target).with_name(f".{Path(target).name}")
    shutil.rmtree(staging, ignore_errors=True)
    write(Path(source), staging, int(heads), int(hidden))
    staging.rename(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
