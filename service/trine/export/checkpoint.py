"""A checkpoint in memory: its PyTorch model in float32, its tokenizer, and its measures. The export process.

Never runs the checkpoint's own code, never unpickles, never asks the hub.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optimum.exporters.tasks import TasksManager
from optimum.utils import NormalizedConfigManager
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from trine.artifact import CacheLayout, Family, Task
from trine.errors import CheckpointRefused, NotACheckpoint, UnsupportedArchitecture
from trine.export.plan import CheckpointInfo

logger = logging.getLogger(__name__)

_OPTIMUM_TASKS = {
    Task.CLASSIFICATION: "text-classification",
    Task.GENERATION: "text-generation",
    Task.TRANSLATION: "text2text-generation",
}
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_HEAD_STEP = 8
"""GroupQueryAttention takes head sizes that are multiples of this."""


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
        model = _load_model(folder, info, config)
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **_LOCAL)
    except (CheckpointRefused, MemoryError):
        raise
    except Exception as error:
        logger.exception("the checkpoint cannot be loaded")
        raise NotACheckpoint(
            f"the folder does not load as {info.architecture}: its config, weights and tokenizer do not fit together"
        ) from error
    return Checkpoint(folder, info, model.eval(), tokenizer)


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
    missing = len(loading["missing_keys"]) + len(loading["mismatched_keys"])
    if missing:  # transformers would go on with random numbers
        raise NotACheckpoint(f"the weights lack {missing} of the tensors that {info.architecture} needs")
    return model


def cache_layout(config: PreTrainedConfig, family: Family) -> CacheLayout:
    """Layers and heads of the decoder. Raises UnsupportedArchitecture for head sizes that the attention operator lacks."""
    normalized = NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    heads, layers = normalized.num_attention_heads, normalized.num_layers
    if family is Family.ENCODER_DECODER:
        heads, layers = config.decoder_attention_heads, config.decoder_layers
    head_dim = getattr(config, "head_dim", None) or normalized.hidden_size // heads
    if head_dim % _HEAD_STEP:
        raise UnsupportedArchitecture(
            f"attention heads of size {head_dim} are not supported; it must be a multiple of {_HEAD_STEP}"
        )
    return CacheLayout(layers, getattr(config, "num_key_value_heads", None) or heads, head_dim)
