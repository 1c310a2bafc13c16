"""A checkpoint's configs: no code by name, no settings of transformers' own, no number that fills the memory. Front and export process.

transformers takes attributes from a config as they stand, and some of its private ones name code (CVE-2026-4372). So every key that
begins with an underscore is refused, but for a few that transformers itself writes and that say nothing; these are taken out before
transformers reads the file, as is every path (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules.documents import objects
from trine.registry.rules.names import shown_word

INERT = frozenset(
    {
        "_attn_implementation_autoset",
        "_class_name",
        "_commit_hash",
        "_diffusers_version",
        "_from_model_config",
        "_name_or_path",
        "_num_labels",
    }
)
"""Private keys of hub configs that decide nothing: taken out, whatever they say."""
INERT_WHERE: Mapping[str, Any] = {"__type": "AddedToken", "_remove_final_layer_norm": False}
"""The same with this one value: the mark of a token's spelling in older tokenizer_config.json, and OPT's default."""
_MAPS = frozenset({"label2id", "id2label", "lang_to_code", "language_codes"})
"""Objects whose keys are data."""
_UNWANTED = frozenset(
    {"attn_implementation", "experts_implementation", "name_or_path", "sp_model_kwargs", "tokenizer_object"}
)
"""Settings of the machine that saved the checkpoint, taken out: where its files were, which kernels it had."""
_UNWANTED_END = "_file"
_FORBIDDEN = frozenset({"auto_map", "custom_pipelines", "transformers_weights"})
"""Name code, or files other than those that were checked."""

_WIDTH, _COUNT, _LABELS, _VOCABULARY, _POSITIONS = 1 << 17, 1 << 10, 1 << 16, 1 << 20, 1 << 24
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "d_kv", "head_dim"), _WIDTH
    ),
    **dict.fromkeys(("intermediate_size", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"), _WIDTH),
    **dict.fromkeys(("hidden_dim", "n_inner", "word_embed_proj_dim"), _WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"), _COUNT),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers", "num_hidden_groups", "inner_group_num"), _COUNT),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), _COUNT),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), _COUNT),
    **dict.fromkeys(("num_labels", "type_vocab_size", "relative_attention_num_buckets"), _LABELS),
    **dict.fromkeys(("vocab_size", "decoder_vocab_size"), _VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_source_positions"), _POSITIONS),
}
"""The largest value of each number that memory is taken by. `num_labels` alone makes transformers write so many labels."""
IN_WEIGHTS = (
    *("vocab_size", "hidden_size", "n_embd", "d_model", "dim", "intermediate_size"),
    *("d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "hidden_dim"),
)
"""Numbers that are a side of some tensor of the weights, in every architecture that has them."""


def check(document: Any, name: str) -> None:
    """Raises UnsafeCheckpoint. `name`: the file's."""
    for owner, settings in objects(document):
        if owner in _MAPS:
            continue
        for key, value in settings.items():
            _check_key(key, value, name)
            _check_number(key, value, name)


def _check_key(key: str, value: Any, name: str) -> None:
    if key in _FORBIDDEN and value:
        raise UnsafeCheckpoint(
            f"{name} asks for the checkpoint's own code or files ({key}), which are never used"
        )
    if key.startswith("_") and key not in INERT and INERT_WHERE.get(key, ...) != value:
        raise UnsafeCheckpoint(
            f"{name} sets {shown_word(key, 'a key that begins with an underscore')}; such keys are settings of the "
            "library's own, and only those that say nothing are let through"
        )


def _check_number(key: str, value: Any, name: str) -> None:
    most = LIMITS.get(key)
    if most is None or value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not 0 <= value <= most:
        raise UnsafeCheckpoint(f"{name} has a {key} that is not between 0 and {most}")


def check_sizes(config: Mapping[str, Any], sides: frozenset[int], tensors: int, name: str) -> None:
    """Whether the weights are of the sizes that the config names: else so much memory would be taken before anyone looks.

    `sides`: every length that a side of a tensor has; `tensors`: how many there are. Raises NotACheckpoint.
    """
    for key in IN_WEIGHTS:
        value = config.get(key)
        if type(value) is int and value not in sides:
            raise NotACheckpoint(f"{name} has a {key} that no tensor of the weights has")
    for key, most in LIMITS.items():
        value = config.get(key)
        if most == _COUNT and key.endswith(("layers", "n_layer")) and type(value) is int and value > tensors:
            raise NotACheckpoint(f"{name} has more {key} than the weights have tensors")


def sanitized(document: Any) -> Any:
    """The document without what `INERT` and the unwanted settings name. `check` has passed it."""
    if isinstance(document, list):
        return [sanitized(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        key: sanitized(value) if key not in _MAPS else value
        for key, value in document.items()
        if _kept(key, value)
    }


def _kept(key: str, value: Any) -> bool:
    if key == "__type":
        return True
    unwanted = key in _UNWANTED or (key.endswith(_UNWANTED_END) and isinstance(value, str | None))
    return not (key in INERT or key in INERT_WHERE or key in _FORBIDDEN or unwanted)
