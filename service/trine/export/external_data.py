"""A graph file with its large tensors beside it. The export process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

_EXTERNAL_BYTES = 1024
"""Tensors from this size on are stored beside the graph."""
_ALIGNMENT = 4096
"""Offsets of stored tensors; ONNX Runtime maps them into memory in pages."""


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the graph, and its large tensors to `path`.data, each at the beginning of a page."""
    location = f"{path.name}.data"
    with path.with_name(location).open("wb") as file:
        for tensor in _large(model):
            file.write(bytes(-file.tell() % _ALIGNMENT))
            external_data_helper.set_external_data(tensor, location, file.tell(), len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())


def _large(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    return (tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _EXTERNAL_BYTES)
