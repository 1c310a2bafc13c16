"""What an artifact says of itself, read off the checkpoint: limits, labels, how to generate, and the engine's self-test.

The export process. The parity gate's verdict is filled in when there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
import transformers

import trine
from trine.artifact import Family, Generation, Limits, Manifest, Parity, Precision, SelfTest, Task
from trine.errors import NotACheckpoint, UnsupportedArchitecture
from trine.export import checkpoint as checkpoints
from trine.export import gate, graph, rotary, sentence_transformer, tokenizer
from trine.export.checkpoint import Checkpoint
from trine.export.plan import RECIPE
from trine.export.reference import Reference
from trine.export.sentence_transformer import Embedding

SELF_TEST_TOLERANCE = {
    Precision.FP32: gate.FP32.self_test,
    Precision.FP16: gate.FP16.self_test,
    Precision.BF16: gate.BF16.self_test,
}
_SELF_TEST_TEXTS = ("The ferry leaves at noon.", "Yes!", "Where did you put the keys to the old house?")
_SELF_TEST_TOKENS = 16
_SELF_TEST_LOGITS = 64
_MAX_PREFIX = 256
"""Characters."""

_UNUSED_DEFAULTS: dict[str, Any] = {
    "min_length": 0,
    "min_new_tokens": None,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "begin_suppress_tokens": None,
    "sequence_bias": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": None,
}


def describe(checkpoint: Checkpoint, precision: Precision) -> Manifest:
    """The manifest without files and without a passed gate.

    Raises NotACheckpoint or UnsupportedArchitecture for settings that the serving side cannot honor.
    """
    info, config = checkpoint.info, checkpoint.config
    encoder = info.family is Family.ENCODER
    labels = _labels(config, info.task) if encoder and info.task is not Task.EMBEDDING else ()
    embedding = sentence_transformer.read(checkpoint.folder) if info.task is Task.EMBEDDING else None
    rotary.require_fixed_frequencies(config)
    layout = checkpoints.cache_layout(config, info.family)
    generation = None if encoder else _generation(checkpoint)
    return Manifest(
        architecture=info.architecture,
        family=info.family,
        task=info.task,
        precision=precision,
        target=precision.target,
        vocab_size=config.vocab_size,
        limits=_limits(checkpoint, embedding),
        self_test=_self_test(
            Reference(checkpoint, generation), SELF_TEST_TOLERANCE[precision], encoder=encoder
        ),
        parity=Parity(passed=False, checks=()),
        parameters=checkpoint.parameters,
        opset=graph.OPSET,
        exporter=f"trine {trine.__version__} recipe {RECIPE}, torch {torch.__version__}, transformers {transformers.__version__}",
        labels=labels,
        multi_label=info.task is Task.CLASSIFICATION and _is_multi_label(config, labels),
        pairs=info.task is Task.CLASSIFICATION and _takes_pairs(checkpoint),
        pooling=embedding.pooling if embedding else None,
        normalize=embedding is not None and embedding.normalize,
        embedding_size=config.hidden_size if embedding else 0,
        position_offset=checkpoints.position_offset(checkpoint.model) if encoder else 0,
        unk_id=tokenizer.unknown_id(checkpoint.tokenizer),
        cache=None if encoder else layout,
        cross=layout if info.family is Family.ENCODER_DECODER else None,
        generation=generation,
        languages=tokenizer.languages(checkpoint.tokenizer, info.architecture, config.vocab_size),
    )


def ignored_settings(checkpoint: Checkpoint) -> list[str]:
    """Names of the checkpoint's default generation settings that a request cannot have here, for the report."""
    config = checkpoint.model.generation_config if checkpoint.model.can_generate() else None
    if config is None:
        return []
    names = [
        name for name, unused in _UNUSED_DEFAULTS.items() if getattr(config, name, None) not in (None, unused)
    ]
    return names + (["bad_words_ids"] if any(len(word) > 1 for word in config.bad_words_ids or []) else [])


def _limits(checkpoint: Checkpoint, embedding: Embedding | None) -> Limits:
    positions = checkpoints.context_length(checkpoint.config, checkpoint.tokenizer)
    if checkpoint.info.family is Family.ENCODER:
        positions -= checkpoints.position_offset(checkpoint.model)
        if embedding is not None and embedding.max_tokens is not None:
            positions = min(positions, embedding.max_tokens)
        return Limits(max_input_tokens=min(positions, int(checkpoint.tokenizer.model_max_length)))
    if checkpoint.info.family is Family.DECODER:
        return Limits(max_input_tokens=positions, max_output_tokens=positions - 1)
    return Limits(max_input_tokens=positions, max_output_tokens=positions)


def _labels(config: Any, task: Task) -> tuple[str, ...]:
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    if len(labels) != config.num_labels or len(set(labels)) != len(labels):
        raise NotACheckpoint("the labels of the config do not match its outputs")
    if config.problem_type == "regression":
        raise UnsupportedArchitecture("regression is not supported")
    if len(labels) == 1 and task is Task.TOKEN_CLASSIFICATION:
        raise UnsupportedArchitecture("a single label for all tokens is not supported")
    return labels


def _is_multi_label(config: Any, labels: Sequence[str]) -> bool:
    """As transformers' pipeline has it, a single label's score stands alone as well (rerankers of text pairs)."""
    return config.problem_type == "multi_label_classification" or len(labels) == 1


def _takes_pairs(checkpoint: Checkpoint) -> bool:
    """Whether the model knows the types that its tokenizer gives to the tokens of two texts."""
    if not checkpoint.tokenizer.is_fast:
        return False
    kinds = checkpoints.token_types(checkpoint.model)
    types = checkpoint.tokenizer("a", "b", return_token_type_ids=True).token_type_ids
    return kinds == 0 or max(types, default=0) < kinds


def _generation(checkpoint: Checkpoint) -> Generation:
    config = checkpoint.model.generation_config
    eos_ids = _ids(config.eos_token_id)
    words = [word[0] for word in config.bad_words_ids or [] if len(word) == 1 and word[0] not in eos_ids]
    suppressed = tuple(sorted({*words, *_ids(config.suppress_tokens)}))
    if checkpoint.info.family is Family.DECODER:
        return Generation(eos_ids=eos_ids, suppressed_ids=suppressed)
    start = config.decoder_start_token_id
    start = config.bos_token_id if start is None else start
    if start is None:
        raise NotACheckpoint("neither config names the decoder's start token")
    return Generation(
        eos_ids=eos_ids,
        start_id=int(start),
        forced_first_id=_one(config.forced_bos_token_id),
        forced_last_id=_one(config.forced_eos_token_id),
        suppressed_ids=suppressed,
        input_prefix=_input_prefix(checkpoint) if checkpoint.info.task is Task.SUMMARIZATION else "",
    )


def _input_prefix(checkpoint: Checkpoint) -> str:
    """As transformers' summarization pipeline takes it: the task's own, else the config's."""
    tasks = getattr(checkpoint.config, "task_specific_params", None)
    own = tasks.get("summarization") if isinstance(tasks, dict) else None
    prefix = own.get("prefix") if isinstance(own, dict) else None
    prefix = getattr(checkpoint.config, "prefix", None) if prefix is None else prefix
    if prefix is None:
        return ""
    if not isinstance(prefix, str) or len(prefix) > _MAX_PREFIX:
        raise NotACheckpoint("the config's prefix for summaries is no short text")
    return prefix


def _ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(map(int, value))


def _one(value: int | Sequence[int] | None) -> int | None:
    ids = _ids(value)
    if len(ids) > 1:
        raise UnsupportedArchitecture("a choice of several forced tokens is not supported")
    return ids[0] if ids else None


def _self_test(reference: Reference, tolerance: float, *, encoder: bool) -> SelfTest:
    inputs = [ids[:_SELF_TEST_TOKENS] for ids in reference.token_ids(_SELF_TEST_TEXTS)]
    answer = reference.output if encoder else reference.first_logits
    outputs = [answer(ids).reshape(-1)[:_SELF_TEST_LOGITS].tolist() for ids in inputs]
    if not all(map(math.isfinite, chain.from_iterable(outputs))):  # nor could JSON hold them
        raise NotACheckpoint("the checkpoint itself answers with what is no finite number")
    return SelfTest(inputs=inputs, outputs=outputs, tolerance=tolerance)
