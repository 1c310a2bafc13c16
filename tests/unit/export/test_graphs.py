"""Each family's graph against PyTorch, through the runners that serve it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from transformers.pytorch_utils import Conv1D

from tests.unit.export.conftest import Exported
from trine.engine.runtime.decoder import DecoderRunner
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.runtime.seq2seq import Seq2SeqRunner
from trine.export import attention, checkpoint, decoder_graph, graph
from trine.export.gate import drift
from trine.export.plan import inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

Floats = NDArray[np.float32]
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Chunk:
    row: int
    tokens: Sequence[int]
    past: int
    choice: object | None = True


def draw(count: int, vocab: int, *lengths: int) -> list[list[int]]:
    random = np.random.default_rng(count)
    return [random.integers(2, vocab - 1, length).tolist() for length in lengths]


def forward(exported: Exported) -> Callable[..., Floats]:
    """PyTorch's logits of one sequence, without the batch dimension."""
    model = checkpoint.load(exported.folder, inspect(exported.folder, None)).model

    def run(ids: Sequence[int], target: Sequence[int] | None = None) -> Floats:
        inputs = {"input_ids": torch.tensor([ids])}
        if target is not None:
            inputs["decoder_input_ids"] = torch.tensor([target])
        with torch.no_grad():
            logits: Floats = model(**inputs).logits[0].numpy()
        return logits

    return run


def test_encoder(bert: Exported) -> None:
    runner, expected = EncoderRunner(bert.artifact, threads=1), forward(bert)
    sequences = draw(1, bert.artifact.manifest.vocab_size, 9, 40, 1, 17, 2)
    reference = np.stack([expected(ids) for ids in sequences])
    together = runner.run(sequences)
    assert drift(np.stack(together), reference) < TOLERANCE
    for ids, row in zip(sequences, together, strict=True):
        np.testing.assert_array_equal(runner.run([ids])[0], row)
    longer = sequences * 8  # more packed tokens than BERT's own buffers hold
    np.testing.assert_array_equal(runner.run(longer), together * 8)


def test_decoder_mixes_prompt_chunks_and_decodes(gpt2: Exported) -> None:
    runner, expected = DecoderRunner(gpt2.artifact, threads=1, slots=4, max_chunk=16), forward(gpt2)
    sequences = draw(2, gpt2.artifact.manifest.vocab_size, 40, 23, 31)
    reference = [expected(ids) for ids in sequences]
    steps = [[5, 3, 16], [16, 1, 1], [1, 8, 1], [1, 0, 2], [1, 1, 1]]  # 0: idle for a step
    past = [0, 0, 0]
    for step in steps:
        chunks = [
            Chunk(row, sequences[row][past[row] : past[row] + taken], past[row])
            for row, taken in enumerate(step)
            if taken
        ]
        logits = runner.logits(chunks)
        past = [before + taken for before, taken in zip(past, step, strict=True)]
        wanted = np.stack([reference[chunk.row][past[chunk.row] - 1] for chunk in chunks])
        assert drift(logits, wanted) < TOLERANCE
    assert past == [24, 13, 21]


def test_decoder_reaches_the_end_of_its_context(gpt2: Exported) -> None:
    runner, expected = DecoderRunner(gpt2.artifact, threads=1, slots=2, max_chunk=64), forward(gpt2)
    (ids,) = draw(3, gpt2.artifact.manifest.vocab_size, gpt2.artifact.manifest.limits.max_input_tokens)
    for past in (0, 64):
        logits = runner.logits([Chunk(0, ids[past : past + 64], past)])
    assert drift(logits, expected(ids)[-1:]) < TOLERANCE


def test_decoder_runs_without_wanting_anything(gpt2: Exported) -> None:
    runner = DecoderRunner(gpt2.artifact, threads=1, slots=2, max_chunk=64)
    assert runner.logits([Chunk(0, [5, 6, 7], 0, choice=None)]).shape == (
        0,
        gpt2.artifact.manifest.vocab_size,
    )


def test_encoder_decoder_rows_join_at_different_times(marian: Exported) -> None:
    runner, expected = Seq2SeqRunner(marian.artifact, threads=1, slots=4), forward(marian)
    generation = marian.artifact.manifest.generation
    assert generation is not None
    assert generation.start_id is not None
    vocab = marian.artifact.manifest.vocab_size
    sources = draw(4, vocab, 9, 24, 1, 13)
    targets = [[generation.start_id, *tail] for tail in draw(5, vocab, 8, 23, 5, 8)]
    reference = [expected(ids, target) for ids, target in zip(sources, targets, strict=True)]
    past = [0, 0, 0, 0]

    def step(rows: Sequence[int]) -> None:
        chunks = [Chunk(row, [targets[row][past[row]]], past[row]) for row in rows]
        wanted = np.stack([reference[row][past[row]] for row in rows])
        assert drift(runner.logits(chunks), wanted) < TOLERANCE
        for row in rows:
            past[row] += 1

    runner.insert([(0, sources[0])])
    step([0])
    step([0])
    runner.insert([(1, sources[1]), (2, sources[2])])
    step([0, 1, 2])
    step([0, 2])  # row 1 idle
    runner.insert([(3, sources[3])])
    step([0, 1, 2, 3])
    while past[1] < len(targets[1]):
        step([1])
    assert past[1] == marian.artifact.manifest.limits.max_output_tokens


def test_the_bias_behind_the_output_layer_is_in_the_graph(marian: Exported) -> None:
    """Marian adds final_logits_bias to what the output layer gives; without it every row would be off by as much."""
    model = checkpoint.load(marian.folder, inspect(marian.folder, None)).model
    assert float(model.final_logits_bias.abs().max()) > 1


def test_equal_constants_are_stored_once_and_shapes_tell_them_apart() -> None:
    """A scalar and a vector of one number index differently; a view of a tensor is equal to its copy."""

    class Twice(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(8, 16)
            self.second.load_state_dict(self.first.state_dict())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) + self.second(x.index_select(0, graph.longs(0)).expand(3, 8)) + x[0].sum()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph.write(Twice(), [torch.ones(3, 8)], [None], ["x"], ["y"], path)
        initializers = onnx.load(str(path)).graph.initializer
    shapes = [list(tensor.dims) for tensor in initializers]
    assert len([shape for shape in shapes if 16 in shape]) == 2  # a weight and a bias
    assert [] in shapes
    assert [1] in shapes


def test_tracing_leaves_the_checkpoint_as_it_was(gpt2: Exported) -> None:
    """The reference of the gate must be transformers' own code, with its own layers."""
    model = checkpoint.load(gpt2.folder, inspect(gpt2.folder, None)).model
    before = {name: type(module) for name, module in model.named_modules()}
    with attention.emitting(model), decoder_graph.linear_layers(model):
        assert model.config._attn_implementation == attention.NAME
        assert not any(isinstance(module, Conv1D) for module in model.modules())
    assert {name: type(module) for name, module in model.named_modules()} == before
    assert model.config._attn_implementation == "eager"
