"""The graph of the encoder family: packed tokens in, one row of logits for each sequence out. The export process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trine.export import attention, graph
from trine.export.attention import BidirectionalAttention, Packing

MODEL = "model.onnx"


class _PackedEncoder(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of B sequences to logits [B, labels]."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        pad: Tensor,
        unpad: Tensor,
        lens: Tensor,
        total: Tensor,
        first: Tensor,
    ) -> Tensor:
        bidirectional = BidirectionalAttention(Packing(pad, unpad, lens), total)
        with attention.traced_as(bidirectional), _first_tokens(self.model, first):
            # token types are given, because BERT's own buffer of them is as long as one context, and T can be longer
            logits: Tensor = self.model(
                input_ids=input_ids,
                position_ids=position_ids,
                token_type_ids=torch.zeros_like(input_ids),
            ).logits
        return logits


@contextlib.contextmanager
def _first_tokens(model: PreTrainedModel, first: Tensor) -> Iterator[None]:
    """Let the classifier see [B, 1, hidden], each sequence's first token, instead of the packed [1, T, hidden]."""

    def gather(_: torch.nn.Module, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[0].index_select(0, first)[:, None]
        return output

    handle = model.base_model.encoder.register_forward_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def export(model: PreTrainedModel, folder: Path) -> None:
    """Write model.onnx: input_ids, position_ids, pad, unpad, lens, total, first to logits [B, labels]."""
    two_sequences = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3, 1, 2)[None],
        "position_ids": graph.longs(0, 1, 2, 0, 1, 2, 3, 4)[None],
        "pad": graph.longs(0, 1, 2, 0, 0, 3, 4, 5, 6, 7),
        "unpad": graph.longs(0, 1, 2, 5, 6, 7, 8, 9),
        "lens": graph.ints(3, 5),
        "total": graph.scalar(5),
        "first": graph.longs(0, 3),
    }
    tokens, length = graph.TOKENS, graph.LENGTH
    with attention.emitting(model):
        graph.write(
            _PackedEncoder(model),
            arguments=list(two_sequences.values()),
            dynamic=(tokens, tokens, length, length, length, None, length),
            inputs=list(two_sequences),
            outputs=["logits"],
            path=folder / MODEL,
        )
