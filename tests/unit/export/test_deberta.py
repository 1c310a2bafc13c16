"""DeBERTa on packed tokens: each variant of its attention against PyTorch, and a checkpoint whose tokenizer is a SentencePiece model."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sentencepiece
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    from tests.unit.export import encoder_architectures as encoders
    from tests.unit.export import tiny
    from tests.unit.export.conftest import FEW, Exported, export
    from trine import artifact, frames
    from trine.artifact import Artifact, Precision, WeightForm
    from trine.engine import main as engine
    from trine.engine.runtime.encoder import EncoderRunner
    from trine.engine.scheduling.call import Call
    from trine.errors import UnsupportedArchitecture
    from trine.export import checkpoint, encoder_graph, manifest, probes, quantize
    from trine.export.gate import drift
    from trine.export.plan import inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

LENGTHS = (1, 2, 3, 7, 8, 9, 16, 32, 33, 47, 63, 64)
"""One token; on each side of where buckets begin to widen, and of a block of queries; the whole context."""


def exported(folder: Path, **changes: Any) -> tuple[Any, Artifact]:
    """The model, and its graph with a manifest that no gate has seen."""
    encoders.build("DebertaV2Model", folder / "checkpoint", **changes)
    loaded = checkpoint.load(folder / "checkpoint", inspect(folder / "checkpoint", None))
    (folder / "artifact").mkdir()
    described = manifest.describe(loaded, Precision.FP32)
    encoder_graph.export(loaded.model, described.task, folder / "artifact")
    return loaded.model, Artifact(folder / "artifact", artifact.seal(folder / "artifact", described))


def draw(seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(5, 90, length).tolist() for length in LENGTHS]


def prove(model: Any, found: Artifact) -> None:
    runner, sequences = EncoderRunner(found, threads=1), draw(0)
    together = runner.run(sequences)
    for ids, rows in zip(sequences, together, strict=True):
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        assert drift(rows, expected) < 1e-5
        np.testing.assert_array_equal(runner.run([ids])[0], rows)


@pytest.fixture(scope="module")
def version_3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Artifact]:
    return exported(tmp_path_factory.mktemp("version_3"))


def test_version_3_is_pytorchs_and_the_same_bits_in_company(version_3: tuple[Any, Artifact]) -> None:
    prove(*version_3)


@pytest.mark.parametrize(
    "changes",
    [
        {"conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": True},
        *(
            pytest.param(changes, marks=pytest.mark.proof)
            for changes in (
                {"share_att_key": False, "norm_rel_ebd": "none"},
                {"pos_att_type": ["c2p"]},
                {"pos_att_type": "p2c", "position_buckets": -1},
                {"max_relative_positions": 20},  # distances beyond the table
                {"relative_attention": False},
                {"conv_kernel_size": 5, "type_vocab_size": 2},
            )
        ),
    ],
    ids=str,
)
def test_variants_are_pytorchs_and_the_same_bits_in_company(tmp_path: Path, changes: dict[str, Any]) -> None:
    prove(*exported(tmp_path, **changes))


def test_distances_are_stored_as_each_layer_projects_them(version_3: tuple[Any, Artifact]) -> None:
    graph = onnx.load(str(version_3[1].path("model.onnx")), load_external_data=False).graph
    assert not any(node.op_type in {"GatherElements", "GatherND", "Log"} for node in graph.node)
    stored = [tensor for tensor in graph.initializer if list(tensor.dims) == [4, 32, 16]]
    assert len(stored) == 2 * 2  # keys and queries of two layers: heads, buckets, size of a head


def test_a_convolution_in_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedArchitecture, match="convolution"):
        exported(tmp_path, conv_kernel_size=3, conv_groups=2)


def test_int8_is_the_same_bits_in_company(version_3: tuple[Any, Artifact], tmp_path: Path) -> None:
    _, fp32 = version_3
    quantize.quantize(fp32.folder, tmp_path, WeightForm.U8)
    graph = onnx.load(str(tmp_path / "model.onnx"), load_external_data=False).graph
    large = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.data_type == 1]
    assert [list(tensor.dims) for tensor in large] == [[len(encoders.TOKENIZERS["DebertaV2"]()), 64]]
    assert any(node.op_type == "MatMulIntegerToFloat" for node in graph.node)
    runner = EncoderRunner(Artifact(tmp_path, artifact.seal(tmp_path, fp32.manifest)), threads=1)
    for seed in range(3):
        sequences = draw(seed)
        for ids, rows in zip(sequences, runner.run(sequences), strict=True):
            np.testing.assert_array_equal(runner.run([ids])[0], rows)


# --- a checkpoint as it is published: a SentencePiece model, and no tokenizer.json ---------------------------------------------


@pytest.fixture(scope="module")
def labeler(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "PLAIN", FEW)
        return export(_labeler, tmp_path_factory.mktemp("labeler"))


def _labeler(folder: Path) -> Path:
    labels = {"id2label": dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")))}
    encoders.build("DebertaV2ForTokenClassification", folder, vocab_size=520, **labels)
    (folder / "tokenizer.json").unlink()
    encoders.write(folder / "tokenizer_config.json", {"do_lower_case": False, "vocab_type": "spm"})
    special: dict[str, Any] = {}
    for place, (kind, name) in enumerate({"pad": "PAD", "bos": "CLS", "eos": "SEP", "unk": "UNK"}.items()):
        special |= {f"{kind}_id": place, f"{kind}_piece": f"[{name}]"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*tiny.ENGLISH, *probes.PLAIN]),
        model_prefix=str(folder / "spm"),
        vocab_size=500,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        num_threads=1,
        **special,
    )
    return folder


def test_a_sentencepiece_model_is_enough(labeler: Exported) -> None:
    assert not (labeler.folder / "tokenizer.json").exists()
    assert labeler.report.passed, labeler.report.reason
    stored = json.loads(labeler.artifact.path("tokenizer.json").read_text())
    assert stored["model"]["type"] == "Unigram"
    pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(labeler.folder / "spm.model"))
    task: Any = engine._task(labeler.artifact)
    text = "My sister's cat bought the very strange bicycle in 1999, twice."
    (ids,) = task._tokenizer.encode([text])
    assert ids == [1, *pieces.encode(text), 2]


@pytest.mark.parametrize("aggregation", ["none", "simple", "first", "average", "max"])
def test_entities_stand_where_transformers_finds_them(labeler: Exported, aggregation: Any) -> None:
    texts = [
        "My sister's cat saw the house in Lisbon.",
        "  two   spaces\nand a line",
        "😀 the dog 👩‍👩‍👧 café é",
        "我昨天 שלום мир",
    ]
    task: Any = engine._task(labeler.artifact)
    request = frames.ClassifyTokens(0, texts, math.inf, 2, "", aggregation)
    items: list[Any] = task.prepare(request, Call(0, "", 2, math.inf, 0.0, len(texts)))
    outputs = EncoderRunner(labeler.artifact, threads=1).run([item.tokens for item in items])
    for item, output in zip(items, outputs, strict=True):
        item.output = output
        answer = task.tell(item)
    pipe: Any = pipeline(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(labeler.folder, dtype=torch.float32),
        tokenizer=AutoTokenizer.from_pretrained(labeler.folder),
        aggregation_strategy=aggregation,
        device="cpu",
    )
    name = "entity" if aggregation == "none" else "entity_group"
    assert sum(len(tagged.entities) for tagged in answer.tagged) > 10
    for text, tagged in zip(texts, answer.tagged, strict=True):
        expected = pipe(text)
        assert [(one.label, one.begin, one.end) for one in tagged.entities] == [
            (one[name], one["start"], one["end"]) for one in expected
        ]
        scores = [float(one["score"]) for one in expected]
        assert [one.score for one in tagged.entities] == pytest.approx(scores, rel=1e-4)
