"""The decoder family for CUDA, as far as a machine without one can tell.

In float32 all but the kernel itself runs here: the graph with the operator's documentation in the operator's place, the plans, the
pages and their copies, the runner, through the parity gate and under a batcher. In half precision ONNX Runtime takes the graph
up to the kernel that its CPU lacks.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch

    from tests.unit.export import architectures, paged_stand_in, tiny
    from trine import artifact, frames
    from trine.artifact import REPORT, Artifact, Family, Precision, Target
    from trine.engine import main as engine
    from trine.engine.runtime.decoder import DecoderRunner
    from trine.engine.runtime.device import Device
    from trine.engine.runtime.paged_cache import page_tokens
    from trine.engine.runtime.paged_decoder import PagedDecoderRunner
    from trine.engine.scheduling.call import Call
    from trine.engine.scheduling.continuous import DecoderBatcher
    from trine.engine.scheduling.meter import Meter
    from trine.errors import NotPossible, UnsupportedArchitecture
    from trine.export import (
        checkpoint,
        decoder_graph,
        gate,
        manifest,
        optimize,
        paged_decoder_graph,
        probes,
        recipe,
        tokenizer,
        verify,
    )
    from trine.export.checkpoint import Checkpoint
    from trine.export.plan import ExportPlan, Gate, inspect
    from trine.sampling import BeamSearch, Decoding

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

TRAITS = ("gpt2", "qwen3", "gemma2")
"""Learned positions; rotary with grouped heads; soft-caps and a sliding window."""
OTHERS = ("gpt-neox", "gpt-neox-serial", "opt", "llama", "llama3", "mistral", "qwen2", "phi")
CPU = Device()


@dataclass(frozen=True)
class Exported:
    loaded: Checkpoint
    paged: Artifact
    """For CUDA in float32, which CUDA would not take, with a stand-in for the operator."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Exported]]:
    known: dict[str, Exported] = {}

    def find(name: str) -> Exported:
        if name not in known:
            root = tmp_path_factory.mktemp(name)
            known[name] = export(architectures.build(name, root / "checkpoint"), root)
        return known[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "PLAIN", probes.PLAIN[3:9])
        yield find


def export(folder: Path, root: Path) -> Exported:
    loaded = checkpoint.load(folder, inspect(folder, None))
    described = msgspec.structs.replace(manifest.describe(loaded, Precision.FP32), target=Target.CUDA)
    assert described.cache is not None
    staging = root / "paged"
    staging.mkdir()
    tokenizer.write(loaded.tokenizer, described.vocab_size, staging)
    paged_decoder_graph.export(loaded.model, described.cache, torch.float32, staging)
    optimize.optimize(staging)
    page = page_tokens(described.cache.head_dim)
    assert paged_stand_in.replace(staging / "model.onnx", page) == described.cache.layers
    return Exported(loaded, Artifact(staging, artifact.seal(staging, described)))


def plain(found: Exported, staging: Path) -> Artifact:
    """The same checkpoint for the CPU."""
    described = msgspec.structs.replace(found.paged.manifest, target=Target.CPU)
    assert described.cache is not None
    tokenizer.write(found.loaded.tokenizer, described.vocab_size, staging)
    decoder_graph.export(found.loaded.model, described.cache, staging)
    return Artifact(staging, artifact.seal(staging, described))


@pytest.mark.parametrize("name", [*TRAITS, *(pytest.param(name, marks=pytest.mark.proof) for name in OTHERS)])
def test_all_but_the_kernel_passes_the_gate(exported: Callable[[str], Exported], name: str) -> None:
    """Chunks beside single tokens, rows that are moved, alone and in company: float32's own limits."""
    found = exported(name)
    limits = replace(gate.FP32, new_tokens=8)
    report = verify.prove(
        found.loaded, found.paged, threads=1, told=lambda _: None, limits=limits, device=CPU
    )
    assert report.passed, report.reason
    assert {check.name for check in report.checks} >= {"logits", "batch_logits", "greedy", "self_test"}


def test_a_batcher_writes_on_pages_what_it_writes_on_rows(
    exported: Callable[[str], Exported], tmp_path: Path
) -> None:
    """With beams, which fork rows, and with prompts that begin alike, whose beginnings are kept in blocks and restored."""
    found = exported("qwen3")
    on_cpu = plain(found, tmp_path)
    expected, _ = served(on_cpu, DecoderRunner(on_cpu, 1, 6, 16))
    paged, meter = served(found.paged, PagedDecoderRunner(found.paged, 1, 6, 16, CPU))
    assert paged == expected
    assert len({text for text, _ in paged}) > 2
    observed = meter.take(0, 0, 0.0)
    assert observed is not None
    assert observed.prefix_hit_tokens > 0


def served(
    opened: Artifact, runner: DecoderRunner | PagedDecoderRunner
) -> tuple[list[tuple[str, list[str]]], Meter]:
    meter = Meter(time.monotonic)
    batcher: DecoderBatcher[Any] = DecoderBatcher(runner, 64, meter, 1 << 20)
    task: Any = engine._task(opened)
    task.most_beams = 6
    beginning = "The old ferry leaves at noon, "
    answers = []
    for number, decoding in enumerate(
        (
            Decoding(max_new_tokens=9),
            Decoding(max_new_tokens=7, beam_search=BeamSearch(3, n_best=3)),
        )
    ):
        texts = [beginning + end for end in ("rain or shine", "or so they say", "why not?")]
        request = frames.Generate(number, texts, math.inf, 2, "", decoding, stream=False)
        batcher.add(task.prepare(request, Call(number, "", 2, math.inf, 0.0, len(texts))))
        answers += answered(batcher, task)
    return [(answer.text, [one.text for one in answer.hypotheses]) for answer in answers], meter


def answered(batcher: DecoderBatcher[Any], task: Any) -> list[frames.Generated]:
    while True:
        batch = batcher.choose()
        for item in batcher.settle(batch, batcher.run(batch)):
            if (answer := task.tell(item)) is not None:
                generated: list[frames.Generated] = answer.generated
                return generated


# --- half precision ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], Path]:
    """Published without a proof, in the folder that the registration had."""
    known: dict[Precision, Path] = {}

    def find(precision: Precision) -> Path:
        if precision not in known:
            root = tmp_path_factory.mktemp(precision)
            folder = architectures.build("qwen3", root / "checkpoint")
            (root / "artifact").mkdir()
            register(folder, root / "artifact", precision, Gate.REPORT)
            known[precision] = root / "artifact"
        return known[precision]

    return find


def register(folder: Path, staging: Path, precision: Precision, verdict: Gate) -> gate.Report:
    plan = ExportPlan(folder, staging, precision=precision, gate=verdict)
    return recipe.export(plan, inspect(folder, None, precision, verdict), 1, lambda *_: None)


@pytest.mark.parametrize(
    ("precision", "number"),
    [(Precision.FP16, onnx.TensorProto.FLOAT16), (Precision.BF16, onnx.TensorProto.BFLOAT16)],
)
def test_half_precision_is_half_precision_throughout(
    half: Callable[[Precision], Path], precision: Precision, number: int
) -> None:
    graph = onnx.load(str(half(precision) / "model.onnx"), load_external_data=False).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert types.pop("logits") == onnx.TensorProto.FLOAT
    assert {kind for name, kind in types.items() if name.startswith(("past.", "present."))} == {number}
    assert number in {part.data_type for part in graph.initializer} <= {number, onnx.TensorProto.INT64}
    assert sum(node.op_type == "PagedAttention" for node in graph.node) == 2


def test_only_the_kernel_is_missing_on_the_cpu(half: Callable[[Precision], Path]) -> None:
    """Schemas, shapes and types were checked before; of bfloat16 the CPU lacks other kernels as well."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    for precision, kernel in ((Precision.FP16, "PagedAttention"), (Precision.BF16, "")):
        path = half(precision) / "model.onnx"
        with pytest.raises(NoKernel, match=rf"Could not find an implementation for {kernel}"):
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_what_is_published_without_a_proof_says_so(half: Callable[[Precision], Path]) -> None:
    found = artifact.open_artifact(half(Precision.FP16))
    parity = found.manifest.parity
    assert (found.manifest.target, found.manifest.precision) == (Target.CUDA, Precision.FP16)
    assert (parity.passed, parity.overridden, parity.checks) == (False, True, ())
    assert found.manifest.self_test.tolerance == gate.FP16.self_test
    report = msgspec.json.decode(found.path(REPORT).read_bytes())
    assert report["reason"] == "not verified: no CUDA device"


def test_without_a_device_nothing_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    folder, staging = tiny.gpt2(tmp_path / "checkpoint"), tmp_path / "artifact"
    staging.mkdir()
    told: list[str] = []
    plan = ExportPlan(folder, staging, precision=Precision.FP16)
    with pytest.raises(
        NotPossible, match="proved on a CUDA device: the installed onnxruntime has no CUDA provider"
    ):
        recipe.export(plan, inspect(folder, None, Precision.FP16), 1, lambda stage, *_: told.append(stage))
    assert (told, list(staging.iterdir())) == ([], [])


def test_the_checkpoint_stays_in_float32(tmp_path: Path) -> None:
    """The gate compares with it after it was exported."""
    folder = tiny.gpt2(tmp_path / "checkpoint")
    loaded = checkpoint.load(folder, inspect(folder, None))
    layout = checkpoint.cache_layout(loaded.config, Family.DECODER)
    paged_decoder_graph.export(loaded.model, layout, torch.float16, tmp_path)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("build", [tiny.bert, tiny.marian])
def test_other_families_are_refused(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    with pytest.raises(UnsupportedArchitecture, match="not supported on CUDA: the decoder family alone is"):
        inspect(build(tmp_path), None, Precision.FP16)
