"""A checkpoint in memory: its PyTorch model in float32, its tokenizer, and its measures. The export process.

Never runs the checkpoint's own code, never unpickles, never asks the hub.
"""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optimum.exporters.tasks import TasksManager
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from trine.artifact import CacheLayout, Family, Task
from trine.errors import CheckpointRefused, NotACheckpoint, UnsafeCheckpoint, UnsupportedArchitecture
from trine.export.group_query_attention import HEAD_STEP
from trine.export.plan import CheckpointInfo
from trine.registry.rules.names import shown_word

logger = logging.getLogger(__name__)

_OPTIMUM_TASKS = {
    Task.CLASSIFICATION: "text-classification",
    Task.TOKEN_CLASSIFICATION: "token-classification",
    Task.EMBEDDING: "feature-extraction",
    Task.GENERATION: "text-generation",
    Task.TRANSLATION: "text2text-generation",
    Task.SUMMARIZATION: "text2text-generation",
}
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
MAX_CONTEXT = 4096
"""No longer context is served than the gate can prove: the original's attention takes heads * context^2 * 4 bytes, several times."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    folder: Path
    info: CheckpointInfo
    model: PreTrainedModel
    """float32, evaluation mode, transformers' own ("eager") attention."""
    tokenizer: PreTrainedTokenizerBase

    @property
    def config(self) -> PreTrainedConfig:
        return self.model.config

    @property
    def parameters(self) -> int:
        return int(self.model.num_parameters())


def load(folder: Path, info: CheckpointInfo) -> Checkpoint:
    """Raises NotACheckpoint where config, weights and tokenizer do not belong together or do not parse."""
    try:
        config = AutoConfig.from_pretrained(folder, **_LOCAL)
        if info.family is Family.ENCODER:
            _require_encoder(config)
        model = _load_model(folder, info, config)
        tokenizer = _load_tokenizer(folder)
    except (CheckpointRefused, MemoryError):
        raise
    except Exception as error:
        logger.exception("the checkpoint cannot be loaded")
        raise NotACheckpoint(
            f"the folder does not load as {info.architecture}: its config, weights and tokenizer do not fit together"
        ) from error
    return Checkpoint(folder, info, model.eval(), tokenizer)


def _require_encoder(config: PreTrainedConfig) -> None:
    """transformers passes over the second setting in silence, so that the gate would compare with another model's answers."""
    if getattr(config, "is_decoder", False):
        raise UnsupportedArchitecture("the checkpoint's config makes a decoder of it (is_decoder)")
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise UnsupportedArchitecture("relative position embeddings are not supported")


def _load_model(folder: Path, info: CheckpointInfo, config: PreTrainedConfig) -> PreTrainedModel:
    loader = TasksManager.get_model_class_for_task(
        _OPTIMUM_TASKS[info.task], framework="pt", model_type=config.model_type
    )
    model, loading = loader.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,  # transformers 5 would keep the file's, and the reference is float32
        attn_implementation="eager",
        use_safetensors=True,
        output_loading_info=True,
        **_LOCAL,
    )
    if type(model).__name__ != info.architecture:
        raise NotACheckpoint(f"the config's model type is not that of {info.architecture}")
    _require_numbers(model)
    absent = {*loading["missing_keys"], *loading["mismatched_keys"]}
    if info.task is Task.EMBEDDING and getattr(model, "pooler", None) is not None:
        # the pooler is for classification: embeddings pass it by, and many checkpoints lack its weights
        model.pooler = None
        absent = {name for name in absent if not str(name).startswith("pooler.")}
    if missing := len(absent):  # transformers would go on with random numbers
        raise NotACheckpoint(f"the weights lack {missing} of the tensors that {info.architecture} needs")
    return model


def _require_numbers(model: PreTrainedModel) -> None:
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            raise UnsafeCheckpoint(
                f"the weights hold what is no number (NaN or infinite), in {shown_word(name, 'a tensor')}"
            )


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, use_fast=True, **_LOCAL)
    files = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any(
        (folder / name).is_file() for name in files
    ):  # transformers would go on with an empty vocabulary
        raise NotACheckpoint("the folder has no tokenizer")
    return tokenizer


def context_length(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> int:
    """Tokens of one context, at most `MAX_CONTEXT`. T5 has no position table: its n_positions or the tokenizer's word counts."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if positions is None:
        positions = tokenizer.model_max_length if tokenizer is not None else MAX_CONTEXT
    return min(int(positions), MAX_CONTEXT)


def position_offset(model: PreTrainedModel) -> int:
    """The position of a text's first token: RoBERTa and its kin count from the padding id + 1."""
    embeddings: Any = getattr(model.base_model, "embeddings", None)
    return int(embeddings.padding_idx) + 1 if hasattr(embeddings, "create_position_ids_from_input_ids") else 0


def token_types(model: PreTrainedModel) -> int:
    """How many kinds of tokens an encoder tells apart, as BERT does with two texts; 0: it does not ask."""
    if "token_type_ids" not in inspect.signature(type(model).forward).parameters:
        return 0
    return int(model.config.type_vocab_size)


def cache_layout(config: PreTrainedConfig, family: Family) -> CacheLayout:
    """Layers and heads of the decoder. Raises UnsupportedArchitecture for head sizes that the attention operator lacks."""
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    require_head_size(head_dim(config, heads))
    if family is Family.ENCODER_DECODER:  # the plain names are the encoder's
        layers = getattr(config, "decoder_layers", None) or config.num_decoder_layers
        heads = getattr(config, "decoder_attention_heads", None) or heads
    layout = CacheLayout(
        layers=layers,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=head_dim(config, heads),
    )
    require_head_size(layout.head_dim)
    return layout


def require_head_size(head_dim: int) -> None:
    if head_dim % HEAD_STEP:
        raise UnsupportedArchitecture(
            f"attention heads of size {head_dim} are not supported; it must be a multiple of {HEAD_STEP}"
        )


def head_dim(config: PreTrainedConfig, heads: int) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // heads)
