"""The parity gate: the artifact, run by the code that serves, against its checkpoint, run by PyTorch. The export process.

Every text is tokenized by both, every sequence runs alone and in company of different sizes, and what comes out is compared
row by row; generation also token by token, and as text. Nothing here opens a graph or a tokenizer of its own
(docs/decisions/0004).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from trine.artifact import Artifact, Family
from trine.engine.runtime import selftest
from trine.engine.runtime.device import Device
from trine.engine.runtime.encoder import EncoderRunner
from trine.engine.text.detokenizer import Detokenizer
from trine.engine.text.tokenizer import Tokenizer
from trine.errors import InvalidInput
from trine.export import encoders, gate, probes
from trine.export.checkpoint import Checkpoint
from trine.export.encoders import Input
from trine.export.gate import GateLimits, Report
from trine.export.reference import Continuation, Reference, Types
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
        inputs = [Input(ids) for ids in sequences]
        if artifact.manifest.pairs:
            inputs += _pairs(artifact, reference, report, limits)
        encoders.compare(runner, artifact.manifest, reference, inputs, report, limits, told)
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


def _pairs(artifact: Artifact, reference: Reference, report: Report, limits: GateLimits) -> list[Input]:
    """The same for two texts in one sequence; token types are compared where the graph has them."""
    manifest = artifact.manifest
    tokenizer = Tokenizer(artifact.path(SOURCE), manifest.vocab_size, manifest.unk_id)
    expected = [reference.pair(*texts) for texts in probes.PAIRS]
    equal = [
        _alike(tokenizer, texts, ids, types)
        for texts, (ids, types) in zip(probes.PAIRS, expected, strict=True)
    ]
    report.share("pair_token_ids", equal, limits.token_ids)
    length = manifest.limits.max_input_tokens
    return [Input.pair(ids, types, length) for ids, types in expected if max(ids) < manifest.vocab_size]


def _alike(tokenizer: Tokenizer, texts: tuple[str, str], ids: list[int], types: Types) -> bool:
    try:
        (found,) = tokenizer.encode_fully([texts[0]], [texts[1]])
    except InvalidInput:
        return False
    return found.ids == ids and types in (None, found.types)


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
