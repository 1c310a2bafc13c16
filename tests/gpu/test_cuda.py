"""On a CUDA device: half precision against PyTorch's float32 through the gate, and a server that computes there.

Run by `make gpu`, on a machine with onnxruntime-gpu (docs/gpu.md). Nowhere else can they run, so elsewhere they are skipped.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tests.integration.server import CHECKPOINTS, Server
    from tests.unit.export import architectures
    from trine import artifact
    from trine.artifact import Artifact, Precision, Target
    from trine.client import Client
    from trine.engine.runtime.device import Device
    from trine.engine.runtime.paged_decoder import PagedDecoderRunner
    from trine.errors import NotPossible
    from trine.export import recipe
    from trine.export.gate import Report
    from trine.export.plan import ExportPlan, inspect
    from trine.export.walk import Chunk

CUDA = Device(Target.CUDA)
DECODERS = [
    name for name, (kind, _) in architectures.CONFIGS.items() if kind.endswith(("CausalLM", "LMHeadModel"))
]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def _device() -> None:
    try:
        CUDA.require()
    except NotPossible as error:
        pytest.skip(error.message)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
@pytest.mark.parametrize("name", DECODERS)
def test_an_artifact_answers_as_its_checkpoint(tmp_path: Path, name: str, precision: Precision) -> None:
    report, _ = export(architectures.build(name, tmp_path / "checkpoint"), tmp_path / "artifact", precision)
    assert report.passed, report.reason


def export(folder: Path, staging: Path, precision: Precision) -> tuple[Report, Artifact]:
    staging.mkdir()
    plan = ExportPlan(folder, staging, precision=precision)
    report = recipe.export(plan, inspect(folder, None, precision), 1, lambda *_: None)
    return report, artifact.open_artifact(staging)


def test_copied_rows_and_kept_blocks_have_the_same_bits(tmp_path: Path) -> None:
    """A row that was moved, forked or begun with blocks goes on exactly as the one that it comes from."""
    folder = architectures.build("llama", tmp_path / "checkpoint")
    _, opened = export(folder, tmp_path / "artifact", Precision.FP16)
    runner = PagedDecoderRunner(opened, 1, 4, device=CUDA)
    tokens = [5 + n % 60 for n in range(24)]
    runner.logits([Chunk(1, tokens[:16], 0, None)])
    runner.save(0, 1, 0, 8)
    runner.save(1, 1, 8, 8)
    runner.fork(1, 2)
    runner.restore([0, 1], 3)
    runner.move(1, 0)
    answers = [runner.logits([Chunk(row, tokens[16:], 16, True)]) for row in (0, 1, 2, 3)]
    assert all((answer == answers[0]).all() for answer in answers)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("cuda")
    with Server(folder, folder / "repository", provider="cuda") as server, server.client(600) as client:
        steps = list(client.register("verse", CHECKPOINTS / "verse"))
        version = steps[-1].version
        assert version is not None
        assert (version.state, version.precision) == ("ready", "fp16"), steps[-1].message
        yield client


def test_a_server_on_cuda(client: Client) -> None:
    prompts = [f"{name}:" for name in ("ROMEO", "JULIET", "FIRST CITIZEN", "KING RICHARD III")] * 4
    answers = client.generate("verse", prompts, max_new_tokens=48, min_new_tokens=48)
    assert [answer.usage.output_tokens for answer in answers] == [48] * len(prompts)
    stream = client.stream_generate("verse", prompts[0], max_new_tokens=48)
    assert (
        "".join(delta.text for delta in stream)
        == client.generate("verse", prompts[0], max_new_tokens=48).text
    )


def test_beams_and_samples_on_cuda(client: Client) -> None:
    answer = client.generate("verse", "ROMEO:", max_new_tokens=16, beams=4, n_best=4)
    scores = [hypothesis.score for hypothesis in answer.hypotheses]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    once, again = (
        client.generate("verse", "ROMEO:", temperature=0.8, seed=7, max_new_tokens=16) for _ in range(2)
    )
    assert once.text == again.text


def test_a_beginning_is_reused_on_cuda(client: Client) -> None:
    prompt = "Now is the winter of our discontent made glorious summer by this sun of York. " * 6
    first, second = (client.generate("verse", prompt + end, max_new_tokens=4) for end in ("ONE:", "TWO:"))
    assert first.usage.cached_tokens == 0
    assert 0 < second.usage.cached_tokens < second.usage.input_tokens
