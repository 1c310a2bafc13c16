"""What is done to a graph offline, after the export and before the proof. The export process.

An encoder's three projections become one product (packed_projection.py); all other fusion is left to ONNX Runtime, which does it while it loads: SkipLayerNormalization, BiasGelu, FastGelu and QuickGelu come out of
what torch exports, and a graph stays one that other runtimes can read. What is taken out here is what nobody reads: names of the
checkpoint's modules and Python stack traces, most of a graph file. Shapes stay: the fusions need them, and ONNX Runtime infers none
behind GroupQueryAttention.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from trine.errors import ExportFailed
from trine.export import packed_projection

_DOMAINS = frozenset({"", "com.microsoft"})
"""Where a graph's operators may come from; one from elsewhere would be unknown to an engine."""


def optimize(folder: Path) -> None:
    """Rewrite every graph of `folder` in place."""
    for path in sorted(folder.glob("*.onnx")):
        packed_projection.fuse(path)
        model = onnx.load(str(path), load_external_data=False)
        _require_known_operators(model)
        _strip(model)
        _drop_unread_inputs(model.graph)
        onnx.save(model, str(path))


def _require_known_operators(model: onnx.ModelProto) -> None:
    unknown = {node.op_type for node in model.graph.node if node.domain not in _DOMAINS}
    if unknown or model.functions:
        raise ExportFailed("the exported graph has operators that no engine knows")


def _strip(model: onnx.ModelProto) -> None:
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:]
    model.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""


def _drop_unread_inputs(graph: onnx.GraphProto) -> None:
    """Positions where the attention operator derives them, and what only T5 asks for: an engine need not bind them at each step."""
    read = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.input if value.name in read]
    del graph.input[:]
    graph.input.extend(kept)
