"""An artifact's manifest from others: its numbers are within bounds, and say one thing. Front process.

The manifest's schema (trine.artifact) knows which fields there are; here it is what they may say. What a graph cannot do, its engine
finds at its self-test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trine.artifact import MANIFEST, REPORT, CacheLayout, Family, Manifest, Pooling, Target, Task
from trine.errors import UnsafeCheckpoint, UnsupportedArchitecture
from trine.registry.architectures import ARCHITECTURES

_TOKENS, _VOCABULARY, _SIDE, _LAYERS = 1 << 17, 1 << 21, 1 << 17, 1 << 10
_LABELS, _LANGUAGES, _TEXT = 1 << 16, 1 << 12, 1 << 12
_TEST_NUMBERS = 1 << 20
_TEST_TOLERANCE = 0.1

_TOKENIZER, _TARGET_TOKENIZER = "tokenizer.json", "target_tokenizer.json"
_CHAT = ("chat_template.jinja", "special_tokens_map.json")


def check(manifest: Manifest) -> None:
    """Raises UnsafeCheckpoint, or UnsupportedArchitecture for one that this release does not know."""
    row = ARCHITECTURES.get(manifest.architecture)
    if row is None:
        raise UnsupportedArchitecture("the artifact's architecture is none that this release exports")
    if row.family is not manifest.family or manifest.task not in row.tasks:
        raise _odd("a family or a task that its architecture does not have")
    if manifest.precision.target is not manifest.target:
        raise _odd("a precision that its device does not have")
    _check_numbers(manifest)
    _check_texts(manifest)
    _check_self_test(manifest)
    _check_parity(manifest)
    _check_family(manifest)


def file_names(manifest: Manifest) -> tuple[frozenset[str], frozenset[str]]:
    """What an artifact like this one has, and what it may have besides; the manifest itself aside."""
    if manifest.family is Family.ENCODER_DECODER:
        graphs: tuple[str, ...] = ("encoder.onnx", "decoder.onnx")
    elif manifest.target is Target.CUDA:
        graphs = ("model.onnx", "copy.onnx")
    else:
        graphs = ("model.onnx",)
    needed = {*graphs, _TOKENIZER, REPORT}
    beside = {f"{name}.data" for name in graphs} | {_TARGET_TOKENIZER}
    if manifest.task is Task.GENERATION:
        beside |= set(_CHAT)
    return frozenset(needed), frozenset(beside)


def _check_numbers(manifest: Manifest) -> None:
    limits = manifest.limits
    bounds = [
        ("max_input_tokens", limits.max_input_tokens, 1, _TOKENS),
        ("max_output_tokens", limits.max_output_tokens, 0, _TOKENS),
        ("vocab_size", manifest.vocab_size, 1, _VOCABULARY),
        ("embedding_size", manifest.embedding_size, 0, _SIDE),
        ("position_offset", manifest.position_offset, 0, _SIDE),
        ("parameters", manifest.parameters, 0, 1 << 45),
        ("opset", manifest.opset, 1, 100),
    ]
    for layout in (manifest.cache, manifest.cross):
        bounds += list(_cache_bounds(layout)) if layout else []
    bounds += [("a token's number", token, 0, manifest.vocab_size - 1) for token in _tokens(manifest)]
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise _odd(f"{name} that is not between {least} and {most}")


def _cache_bounds(layout: CacheLayout) -> Iterator[tuple[str, int, int, int]]:
    yield "layers", layout.layers, 1, _LAYERS
    yield "kv_heads", layout.kv_heads, 1, _LAYERS
    yield "head_dim", layout.head_dim, 1, _LAYERS


def _tokens(manifest: Manifest) -> Iterator[int]:
    yield from manifest.languages.values()
    if manifest.unk_id is not None:
        yield manifest.unk_id
    if (generation := manifest.generation) is not None:
        yield from generation.eos_ids
        yield from generation.suppressed_ids
        for token in (generation.start_id, generation.forced_first_id, generation.forced_last_id):
            if token is not None:
                yield token


def _check_texts(manifest: Manifest) -> None:
    if len(manifest.labels) > _LABELS or len(manifest.languages) > _LANGUAGES:
        raise _odd(f"more than {_LABELS} labels or {_LANGUAGES} languages")
    texts = [*manifest.labels, *manifest.languages, manifest.exporter, manifest.precision_reason]
    texts += [check.name for check in manifest.parity.checks]
    if manifest.generation is not None:
        texts.append(manifest.generation.input_prefix)
    if any(len(text) > _TEXT for text in texts):
        raise _odd(f"a text of more than {_TEXT} characters")
    if any(not text.isprintable() for text in texts):
        raise _odd("a text with control characters")


def _check_self_test(manifest: Manifest) -> None:
    test = manifest.self_test
    if not test.inputs or not test.outputs or not all(test.inputs) or not all(test.outputs):
        raise _odd("a self-test without an input or an answer")
    if sum(map(len, test.inputs)) > _TEST_NUMBERS or sum(map(len, test.outputs)) > _TEST_NUMBERS:
        raise _odd(f"a self-test of more than {_TEST_NUMBERS} numbers")
    if not all(0 <= token < manifest.vocab_size for row in test.inputs for token in row):
        raise _odd("a self-test with a token outside of its vocabulary")
    if not 0 < test.tolerance <= _TEST_TOLERANCE:
        raise _odd(f"a self-test whose tolerance is not between 0 and {_TEST_TOLERANCE}")


def _check_parity(manifest: Manifest) -> None:
    """The gate ran where it was built; here its figures must at least bear out the verdict."""
    parity = manifest.parity
    good = all(
        check.passed == (check.value >= check.limit if check.at_least else check.value <= check.limit)
        for check in parity.checks
    )
    passed = bool(parity.checks) and all(check.passed for check in parity.checks)
    if not good or parity.passed != passed or (parity.passed and parity.overridden):
        raise _odd("figures of the parity gate that do not bear out its verdict")
    if not (parity.passed or parity.overridden):
        raise _odd("a parity gate that failed")


def _check_family(manifest: Manifest) -> None:
    generates = manifest.family is not Family.ENCODER
    wanted: dict[str, tuple[Any, bool]] = {
        "cache": (manifest.cache, generates),
        "generation": (manifest.generation, generates),
        "cross": (manifest.cross, manifest.family is Family.ENCODER_DECODER),
        "labels": (manifest.labels, manifest.task in {Task.CLASSIFICATION, Task.TOKEN_CLASSIFICATION}),
        "pooling": (manifest.pooling, manifest.task is Task.EMBEDDING),
        "embedding_size": (manifest.embedding_size, manifest.task is Task.EMBEDDING),
    }
    for name, (value, needed) in wanted.items():
        there = isinstance(value, Pooling) or bool(value)
        if there is not needed:
            raise _odd(f"no {name}" if needed else f"{name} that its task has no use for")


def _odd(what: str) -> UnsafeCheckpoint:
    return UnsafeCheckpoint(f"{MANIFEST} tells of {what}")
