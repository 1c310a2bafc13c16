"""The parity gate: the artifact, run by the code that serves, against its checkpoint, run by PyTorch. The export process.

Every text is tokenized by both, every sequence runs alone and in company of different sizes, and what comes out is compared
row by row; generation also token by token, and as text. Nothing here opens a graph or a tokenizer of its own
(docs/decisions/0004).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trine.artifact import Artifact, Family
from trine.engine.runtime import selftest
from trine.engine.runtime.device import Device
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import InvalidInput
from trine.export import gate, probes
from trine.export.checkpoint import Checkpoint
from trine.export.gate import GateLimits, Report
from trine.export.reference import Continuation, Logits, Reference
from trine.export.tokenizer import SOURCE, TARGET
from trine.export.walk import CHUNK, GROUP, Walk, Walker, cut

Told = Callable[[float], None]
"""Is told how much is done, 0 to 1."""


def prove(
    checkpoint: Checkpoint,
    artifact: Artifact,
    *,
    threads: int,
    told: Told,
    limits: GateLimits = gate.FP32,
    device: Device | None = None,
) -> Report:
    """Run every check. A check that fails ends nothing: the report has them all. `device`: the first one of the artifact's target."""
    report = Report(limits)
    reference = Reference(checkpoint, artifact.manifest.generation)
    sequences = _sequences(checkpoint, artifact, reference, report, limits)
    if artifact.manifest.family is Family.ENCODER:
        runner = EncoderRunner(artifact, threads)
        _compare_encoder(runner, artifact.manifest.multi_label, reference, sequences, report, limits, told)
        drift = selftest.drift(artifact, runner)
    else:
        walker = Walker.of(artifact, threads, device)
        _compare_generation(walker, artifact, reference, sequences, report, limits, told)
        drift = selftest.drift(artifact, walker.runner)
    report.at_most("self_test", [drift], limits.self_test)
    return report


def _sequences(
    checkpoint: Checkpoint, artifact: Artifact, reference: Reference, report: Report, limits: GateLimits
) -> list[list[int]]:
    """The probes' token ids by the original tokenizer, cut to the context; checks the artifact's tokenizer on the way."""
    manifest = artifact.manifest
    context = manifest.limits.max_input_tokens
    texts = probes.texts(checkpoint.folder, lambda text: len(reference.token_ids([text])[0]), context)
    expected = reference.token_ids(texts)
    tokenizer = Tokenizer(artifact.path(SOURCE), manifest.vocab_size, manifest.unk_id)
    equal = [_encode(tokenizer, text) == ids for text, ids in zip(texts, expected, strict=True)]
    report.share("token_ids", equal, limits.token_ids)
    report.details["texts"] = len(texts)
    report.details["token_ids_differ"] = [index for index, same in enumerate(equal) if not same]
    keep_end = manifest.family is not Family.DECODER
    known = [ids for ids in expected if ids and max(ids) < manifest.vocab_size]
    return [cut(ids, context, keep_end=keep_end) for ids in known]


def _encode(tokenizer: Tokenizer, text: str) -> list[int] | None:
    try:
        return tokenizer.encode([text])[0]
    except InvalidInput:
        return None


# --- encoder -----------------------------------------------------------------------------------------------------------------


def _compare_encoder(
    runner: EncoderRunner,
    multi_label: bool,
    reference: Reference,
    sequences: Sequence[list[int]],
    report: Report,
    limits: GateLimits,
    told: Told,
) -> None:
    expected, alone = [], []
    for done, ids in enumerate(sequences):
        expected.append(reference.first_logits(ids))
        alone.append(runner.run([ids])[0])
        told(0.8 * done / len(sequences))
    company = in_company(runner, sequences)
    drifts = [gate.drift(a[None], b[None]) for a, b in zip(alone, expected, strict=True)]
    report.at_most("logits", drifts, limits.logits)
    report.details["logits_by_text"] = [gate.writable(drift) for drift in drifts]
    apart = [gate.drift(row[None], alone[index][None]) for index, row in company]
    report.at_most("batch_logits", apart, limits.batch_logits)
    pairs = zip(alone, expected, strict=True)
    labels = [bool((_labels(a, multi_label) == _labels(b, multi_label)).all()) for a, b in pairs]
    report.share("labels", labels, limits.labels)


def _labels(logits: Logits, multi_label: bool) -> NDArray[np.bool_]:
    """[labels]: which of them hold: the best one, or each by itself."""
    return logits > 0 if multi_label else logits == logits.max()


def in_company(runner: EncoderRunner, sequences: Sequence[list[int]]) -> Iterator[tuple[int, Logits]]:
    """(index, logits) of each sequence in batches of several sizes and mixes: shuffled, by length, and all at once."""
    order = list(range(len(sequences)))
    shuffled = random.Random(0).sample(order, len(order))
    by_length = sorted(order, key=lambda index: len(sequences[index]))
    for mix, size in ((order, 3), (shuffled, 8), (by_length, 16), (shuffled, len(order))):
        for start in range(0, len(mix), size):
            batch = mix[start : start + size]
            yield from zip(batch, runner.run([sequences[index] for index in batch]), strict=True)


# --- decoder and encoder-decoder -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Compared:
    """What the groups of sequences add up to."""

    alone: list[float] = field(default_factory=list)
    company: list[float] = field(default_factory=list)
    equal: list[bool] = field(default_factory=list)
    ties: int = 0
    texts: list[bool] = field(default_factory=list)


def _compare_generation(
    walker: Walker,
    artifact: Artifact,
    reference: Reference,
    sequences: Sequence[list[int]],
    report: Report,
    limits: GateLimits,
    told: Told,
) -> None:
    manifest = artifact.manifest
    assert manifest.generation is not None
    detokenizer = Detokenizer(artifact.path(TARGET if TARGET in manifest.files else SOURCE))
    shuffled = random.Random(0).sample(list(sequences), len(sequences))
    compared = _Compared()
    for start in range(0, len(shuffled), GROUP):
        group = shuffled[start : start + GROUP]
        expected = [_continue(reference, ids, walker, limits.new_tokens) for ids in group]
        _compare_logits(walker, group, expected, limits.logit_tokens, compared)
        _compare_tokens(walker, group, expected, limits, compared, manifest.generation.suppressed_ids)
        compared.texts += [_reads_alike(detokenizer, reference, answer.tokens) for answer in expected]
        told(min(1.0, (start + GROUP) / len(shuffled)))
    report.at_most("logits", compared.alone, limits.logits)
    report.details["logits_by_text"] = [gate.writable(drift) for drift in compared.alone]
    report.at_most("batch_logits", compared.company, limits.batch_logits)
    report.share("greedy", compared.equal, limits.greedy)
    report.few("ties", compared.ties, len(shuffled), max(1, int(limits.ties * len(shuffled))))
    report.share("texts", compared.texts, limits.texts)


def _continue(reference: Reference, ids: list[int], walker: Walker, new_tokens: int) -> Continuation:
    room = walker.room(ids)
    # after a full context there is still one token to choose, which nothing will read
    steps = max(1, min(room, new_tokens))
    return reference.greedy(ids, steps, to_the_end=not walker.runner.mixed and steps == room)


def _compare_logits(
    walker: Walker,
    group: Sequence[list[int]],
    expected: Sequence[Continuation],
    steps: int,
    compared: _Compared,
) -> None:
    """Along the reference's own path, at most `steps` tokens far: each alone, then all together."""
    paths = [answer.tokens[:steps] for answer in expected]

    def walks() -> list[Walk]:
        return [walker.begin(ids, len(path), path) for ids, path in zip(group, paths, strict=True)]

    alone = [walker.logits([walk], rows=1, size=CHUNK)[0] for walk in walks()]
    company = walker.logits(walks(), rows=GROUP, size=CHUNK)
    pairs = zip(alone, expected, strict=True)
    compared.alone += [gate.drift(ours, answer.logits[:steps]) for ours, answer in pairs]
    compared.company += [
        gate.drift(together, single) for together, single in zip(company, alone, strict=True)
    ]


def _compare_tokens(
    walker: Walker,
    group: Sequence[list[int]],
    expected: Sequence[Continuation],
    limits: GateLimits,
    compared: _Compared,
    suppressed: Sequence[int],
) -> None:
    """Five rows shared by all: sequences join while others go on, and rows are moved when one ends."""
    walks = [walker.begin(ids, len(answer.tokens)) for ids, answer in zip(group, expected, strict=True)]
    for tokens, answer in zip(walker.greedy(walks, rows=5, size=CHUNK), expected, strict=True):
        if tokens == answer.tokens:
            compared.equal.append(True)
        else:
            tie = _parts_at_tie(tokens, answer, limits.tie_margin, suppressed)
            compared.ties += tie
            compared.equal.append(tie)


def _parts_at_tie(
    tokens: Sequence[int], answer: Continuation, margin: float, suppressed: Sequence[int]
) -> bool:
    """Whether the first difference stands where the reference's two best logits are as good as equal."""
    pairs = zip(tokens, answer.tokens, strict=False)
    place = next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if place is None:
        return False
    row = answer.logits[place].astype(np.float64)
    scale = np.abs(row).max()
    row[list(suppressed)] = -np.inf
    second, best = np.partition(row, -2)[-2:]
    return bool(best - second < margin * scale)


def _reads_alike(detokenizer: Detokenizer, reference: Reference, tokens: Sequence[int]) -> bool:
    """Whether ids become the text that the original tokenizer makes of them, at once and streamed; spaces at the ends aside."""
    text, stream = detokenizer.decode(tokens), detokenizer.stream()
    streamed = "".join(map(stream.push, tokens)) + stream.finish()
    return text.strip() == reference.text(tokens).strip() and streamed == text
