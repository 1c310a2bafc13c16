"""The graph of the encoder family: packed tokens in; logits or hidden states out. The export process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trine.artifact import Task
from trine.export import attention, checkpoint, deberta, graph
from trine.export.attention import BidirectionalAttention, Packing
from trine.export.deberta import Places

MODEL = "model.onnx"


class _PackedEncoder(torch.nn.Module):  # type: ignore[misc]
    """[1, T] tokens of B sequences to what the task wants: logits [B, labels], logits [T, labels] or hidden states [T, hidden]."""

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.distances = deberta.distances(model)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor,
        kv_pos: Tensor,
        pad: Tensor,
        unpad: Tensor,
        lens: Tensor,
        total: Tensor,
        first: Tensor,
    ) -> Tensor:
        options = _token_types(self.model, token_type_ids)
        packing = Packing(pad, unpad, lens)
        places = Places(position_ids, kv_pos, packing)
        bidirectional = BidirectionalAttention(packing, total)
        with (
            attention.traced_as(bidirectional),
            deberta.packed(self.model, self.distances, places),
            self._heads_see(first),
        ):
            answer = self.model(input_ids=input_ids, position_ids=position_ids, **options)
        rows: Tensor = answer.last_hidden_state if self.task is Task.EMBEDDING else answer.logits
        return rows if self.task is Task.CLASSIFICATION else rows[0]

    def _heads_see(self, first: Tensor) -> contextlib.AbstractContextManager[None]:
        if self.task is Task.CLASSIFICATION:
            return _first_tokens(self.model, first)
        return contextlib.nullcontext()


def _token_types(model: PreTrainedModel, given: Tensor) -> dict[str, Tensor]:
    """The argument of those that take token types. Where there is but one, the graph does not ask for it: one zero stands for all.

    It must be passed all the same: the model's own buffer of zeros is as long as one context, and T can be longer.
    """
    kinds = checkpoint.token_types(model)
    if not kinds:
        return {}
    return {"token_type_ids": given if kinds > 1 else graph.longs(0)[None]}


@contextlib.contextmanager
def _first_tokens(model: PreTrainedModel, first: Tensor) -> Iterator[None]:
    """Let the classifier see [B, 1, hidden], each sequence's first token, instead of the packed [1, T, hidden]."""

    def gather(_: torch.nn.Module, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[0].index_select(0, first)[:, None]
        if output.hidden_states is not None:  # DeBERTa's model reads the last of them
            output.hidden_states = (output.last_hidden_state,)
        return output

    layers = "transformer" if hasattr(model.base_model, "transformer") else "encoder"
    handle = getattr(model.base_model, layers).register_forward_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def export(model: PreTrainedModel, task: Task, folder: Path) -> None:
    """Write model.onnx: input_ids, position_ids, token_type_ids, kv_pos, pad, unpad, lens, total, first, as far as `task` and
    architecture read them, to `logits` or (embedding) `hidden`.
    """
    two_sequences = {
        "input_ids": graph.longs(1, 2, 3, 1, 2, 3, 1, 2)[None],
        "position_ids": graph.longs(0, 1, 2, 0, 1, 2, 3, 4)[None],
        "token_type_ids": graph.longs(0, 0, 0, 0, 0, 0, 0, 0)[None],
        "kv_pos": graph.longs(0, 1, 2, 3, 4),
        "pad": graph.longs(0, 1, 2, 0, 0, 3, 4, 5, 6, 7),
        "unpad": graph.longs(0, 1, 2, 5, 6, 7, 8, 9),
        "lens": graph.ints(3, 5),
        "total": graph.scalar(5),
        "first": graph.longs(0, 3),
    }
    tokens, length = graph.TOKENS, graph.LENGTH
    encoder = _PackedEncoder(model, task)
    registered = attention.emitting(model) if encoder.distances is None else contextlib.nullcontext()
    with registered:
        graph.write(
            encoder,
            arguments=list(two_sequences.values()),
            dynamic=(tokens, tokens, tokens, length, length, length, length, None, length),
            inputs=list(two_sequences),
            outputs=["hidden" if task is Task.EMBEDDING else "logits"],
            path=folder / MODEL,
        )
