"""From a wrapped checkpoint to an ONNX file with external data. The export process."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

OPSET = 21

DYNAMIC = torch.export.Dim.DYNAMIC
LENGTH = {0: DYNAMIC}
"""Dynamic shape of a vector."""
TOKENS = {1: DYNAMIC}
"""Dynamic shape of [1, T]."""
CACHE = {0: DYNAMIC, 2: DYNAMIC}
"""Dynamic shape of [B, heads, capacity, head_dim]."""


def longs(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def scalar(value: int) -> Tensor:
    return torch.tensor(value, dtype=torch.int32)


def cache_names(prefix: str, layers: int) -> list[str]:
    """["past.0.k", "past.0.v", "past.1.k", ...]"""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in "kv"]


def example_cache(layers: int, heads: int, capacity: int, head_dim: int) -> list[tuple[Tensor, Tensor]]:
    """A cache of two sequences to trace with. Never one tensor twice: torch.export would merge the two inputs silently."""
    shape = (2, heads, capacity, head_dim)
    return [(torch.randn(shape), torch.randn(shape)) for _ in range(layers)]


def write(
    wrapper: torch.nn.Module,
    arguments: Sequence[Any],
    dynamic: Sequence[Any],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Trace `wrapper` and write `path` with its weights beside it in `path`.data."""
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            wrapper,
            tuple(arguments),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=tuple(dynamic),
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    _merge_equal_constants(program.model.graph)
    program.save(path, external_data=True)


def _merge_equal_constants(traced: Any) -> None:
    """ALBERT's layers have the same weights, and the exporter folds each use of them into a constant of its own.

    `traced` is an onnx_ir.Graph; the pass of that name in onnx_ir fails on constants that are views.
    """
    known: dict[tuple[Any, ...], Any] = {}
    for value in list(traced.initializers.values()):
        if value.const_value is None or value.is_graph_input() or value.is_graph_output():
            continue
        array = value.const_value.numpy()
        digest = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).digest()
        kept = known.setdefault((value.const_value.dtype, array.shape, digest), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            traced.initializers.pop(value.name)


@contextlib.contextmanager
def wanted_rows(model: PreTrainedModel, rows: Tensor) -> Iterator[None]:
    """Compute logits only for `rows` (int64 [W]) of the packed tokens: [W, vocab] instead of [1, T, vocab].

    A hook before the output layer, not a call past the model's own forward: what an architecture does after that layer
    (Marian's final_logits_bias) stays in the graph.
    """

    def gather(_: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (arguments[0][0].index_select(0, rows),)

    handle = model.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's chatter is about its own inner deprecations; its errors still raise."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
