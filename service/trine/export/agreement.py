"""The int8 gate: the quantized artifact against our own float32 artifact, both through the code that serves. The export process.

float32 has been compared with the checkpoint by verify.py; here no PyTorch takes part. Also the engine's self-test of an int8
artifact, which is int8's own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact, Family, SelfTest
from trine.engine.runtime import selftest
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.export import encoders, gate, probes
from trine.export.chrf import chrf
from trine.export.encoders import Input
from trine.export.gate import Int8Limits, Report
from trine.export.tokenizer import SOURCE, TARGET
from trine.export.walk import CHUNK, GROUP, Runner, Walker, cut

Told = Callable[[float], None]
"""Is told how much is done, 0 to 1."""


def prove(
    fp32: Artifact,
    int8: Artifact,
    checkpoint: Path,
    *,
    threads: int,
    told: Told,
    limits: Int8Limits = gate.INT8,
) -> Report:
    """Run every check. `checkpoint`: the folder that may hold probes of its own. `int8` may be graphs and a manifest only."""
    report = Report(limits, claim="int8 is close to float32")
    sequences = _sequences(fp32, checkpoint)
    runner: EncoderRunner | Runner
    if fp32.manifest.family is Family.ENCODER:
        inputs = [Input(ids) for ids in sequences] + _pairs(fp32)
        runner = encoders.agree(fp32, int8, inputs, threads, report, limits)
    else:
        runner = _compare_generations(fp32, int8, sequences, threads, report, limits, told)
    report.at_most("int8_self_test", [selftest.drift(int8, runner)], limits.self_test)
    told(1.0)
    return report


def self_test(int8: Artifact, threads: int) -> SelfTest:
    """The stored input of float32 with int8's own answer.

    Why not PyTorch's: int8 is rightly up to 9 per cent away from it, and a tolerance that lets this pass would let a wrong kernel
    pass as well. Why not exact: another CPU or release rounds the float32 parts differently (1e-6), and where that moves an
    activation over a rounding border, logits move: by 2.3 per cent at worst (measured with all fusions off). The saturating kernel,
    which is the wrong one to fear, is 4 to 6 per cent off, one that takes another zero point far more.
    """
    inputs = int8.manifest.self_test.inputs
    if int8.manifest.family is Family.ENCODER:
        answers = EncoderRunner(int8, threads).run(inputs)
    else:
        walker = Walker.of(int8, threads)
        walks = [walker.begin(ids, 1, [0]) for ids in inputs]
        answers = [walker.logits([walk], rows=1, size=walker.runner.max_chunk)[0][0] for walk in walks]
    stored = int8.manifest.self_test.outputs
    outputs = [answer.reshape(-1)[: len(kept)].tolist() for answer, kept in zip(answers, stored, strict=True)]
    return SelfTest(inputs, outputs, gate.INT8.self_test)


def _sequences(fp32: Artifact, checkpoint: Path) -> list[list[int]]:
    """The probes' token ids as the artifact's tokenizer makes them, cut to the context."""
    manifest = fp32.manifest
    tokenizer = Tokenizer(fp32.path(SOURCE), manifest.vocab_size, manifest.unk_id)
    context = manifest.limits.max_input_tokens
    texts = probes.texts(checkpoint, lambda text: len(tokenizer.encode([text])[0]), context)
    keep_end = manifest.family is not Family.DECODER
    return [cut(list(ids), context, keep_end=keep_end) for ids in tokenizer.encode(texts) if ids]


def _pairs(fp32: Artifact) -> list[Input]:
    manifest = fp32.manifest
    if not manifest.pairs:
        return []
    tokenizer = Tokenizer(fp32.path(SOURCE), manifest.vocab_size, manifest.unk_id)
    length = manifest.limits.max_input_tokens
    encoded = tokenizer.encode_fully(*zip(*probes.PAIRS, strict=True))
    return [Input.pair(found.ids, found.types, length) for found in encoded]


# --- decoder and encoder-decoder -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Path:
    """What float32 makes of a sequence."""

    tokens: list[int]
    best: NDArray[np.int64]
    """The best token at each place of `tokens`; another one where a token was forced."""


@dataclass(slots=True)
class _Compared:
    """What the groups of sequences add up to."""

    best: list[bool] = field(default_factory=list)
    company: list[float] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)


def _compare_generations(
    fp32: Artifact,
    int8: Artifact,
    sequences: Sequence[list[int]],
    threads: int,
    report: Report,
    limits: Int8Limits,
    told: Told,
) -> Runner:
    """Returns int8's runner."""
    groups = [sequences[start : start + GROUP] for start in range(0, len(sequences), GROUP)]
    paths = _fp32_paths(
        fp32, groups, threads, limits.new_tokens
    )  # ends its runner: one set of weights at a time
    told(0.3)
    walker = Walker.of(int8, threads)
    detokenizer = Detokenizer(fp32.path(TARGET if TARGET in fp32.manifest.files else SOURCE))
    compared = _Compared()
    for done, (group, expected) in enumerate(zip(groups, paths, strict=True), start=1):
        _compare_logits(walker, group, expected, compared)
        walks = [walker.begin(ids, _steps(walker, ids, limits.new_tokens)) for ids in group]
        compared.written += map(detokenizer.decode, walker.greedy(walks, rows=3, size=CHUNK))
        compared.expected += [detokenizer.decode(path.tokens) for path in expected]
        told(0.3 + 0.7 * done / len(groups))
    report.share("int8_best_token", compared.best, limits.best_token)
    report.at_least(
        "int8_chrf", chrf(compared.written, compared.expected), limits.chrf, len(compared.written)
    )
    report.at_most("int8_batch_logits", compared.company, limits.batch_logits)
    return walker.runner


def _fp32_paths(
    fp32: Artifact, groups: Sequence[Sequence[list[int]]], threads: int, new_tokens: int
) -> list[list[_Path]]:
    walker = Walker.of(fp32, threads)
    found = []
    for group in groups:
        walks = [walker.begin(ids, _steps(walker, ids, new_tokens)) for ids in group]
        tokens = walker.greedy(walks, rows=GROUP, size=CHUNK)
        along = [walker.begin(ids, len(path), path) for ids, path in zip(group, tokens, strict=True)]
        logits = walker.logits(along, rows=GROUP, size=CHUNK)
        found.append([_Path(path, walker.best(rows)) for path, rows in zip(tokens, logits, strict=True)])
    return found


def _compare_logits(
    walker: Walker, group: Sequence[list[int]], expected: Sequence[_Path], compared: _Compared
) -> None:
    """Along float32's own path: each alone, then all together."""
    walks = [
        walker.begin(ids, len(path.tokens), path.tokens) for ids, path in zip(group, expected, strict=True)
    ]
    again = [walker.begin(walk.source, walk.steps, walk.path) for walk in walks]
    alone = [walker.logits([walk], rows=1, size=CHUNK)[0] for walk in walks]
    company = walker.logits(again, rows=GROUP, size=CHUNK)
    for single, together, path in zip(alone, company, expected, strict=True):
        compared.company.append(gate.drift(together, single))
        compared.best += (walker.best(single) == path.best).tolist()


def _steps(walker: Walker, ids: Sequence[int], new_tokens: int) -> int:
    return max(1, min(walker.room(ids), new_tokens))
