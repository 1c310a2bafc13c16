"""A tiny seeded checkpoint of every generating architecture in the table, all with one character-level tokenizer."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

PAD, BOS, EOS, UNK, FRENCH = range(5)
CONTEXT = 64
WINDOW = 9

Settings = dict[str, Any]

_DECODER: Settings = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
_GROUPED = _DECODER | {"num_key_value_heads": 2}
_BART: Settings = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": EOS,
    "forced_eos_token_id": EOS,
}
_T5: Settings = {
    "d_model": 64,
    "d_kv": 24,
    "d_ff": 96,
    "num_layers": 2,
    "num_heads": 4,
    "n_positions": CONTEXT,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": PAD,
}
_LLAMA3_ROPE: Settings = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
_GEMMA2: Settings = {
    "head_dim": 32,
    "query_pre_attn_scalar": 24,
    "sliding_window": WINDOW,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 8.0,
}

CONFIGS: Mapping[str, tuple[str, Settings]] = {
    "gpt2": (
        "GPT2LMHeadModel",
        {
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": CONTEXT,
            "bos_token_id": EOS,
            "eos_token_id": EOS,
        },
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", _DECODER | {"rotary_pct": 0.25}),
    "gpt-neox-serial": ("GPTNeoXForCausalLM", _DECODER | {"rotary_pct": 1.0, "use_parallel_residual": False}),
    "opt": ("OPTForCausalLM", _DECODER | {"ffn_dim": 96, "word_embed_proj_dim": 32}),
    "llama": ("LlamaForCausalLM", _GROUPED | {"tie_word_embeddings": True}),
    "llama3": ("LlamaForCausalLM", _GROUPED | {"rope_scaling": _LLAMA3_ROPE}),
    "mistral": ("MistralForCausalLM", _GROUPED | {"sliding_window": WINDOW, "head_dim": 24}),
    "qwen2": (
        "Qwen2ForCausalLM",
        _GROUPED | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", _GROUPED | {"head_dim": 32}),
    "phi": ("PhiForCausalLM", _DECODER | {"partial_rotary_factor": 0.5, "qk_layernorm": True}),
    "gemma2": ("Gemma2ForCausalLM", _GROUPED | _GEMMA2),
    "marian": ("MarianMTModel", _BART | {"scale_embedding": True, "activation_function": "swish"}),
    "t5": ("T5ForConditionalGeneration", _T5),
    "t5-gated": (
        "T5ForConditionalGeneration",
        _T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": ("BartForConditionalGeneration", _BART | {"forced_bos_token_id": BOS, "decoder_layers": 3}),
    "mbart": (
        "MBartForConditionalGeneration",
        _BART | {"forced_bos_token_id": FRENCH, "scale_embedding": True},
    ),
    "m2m100": (
        "M2M100ForConditionalGeneration",
        _BART | {"forced_bos_token_id": FRENCH, "scale_embedding": True, "decoder_attention_heads": 8},
    ),
    "pegasus": (
        "PegasusForConditionalGeneration",
        _BART | {"decoder_start_token_id": PAD, "scale_embedding": True},
    ),
}
"""By a name of ours: the architecture, and the settings of its config that are not defaults."""

_FORCED = ("forced_bos_token_id", "forced_eos_token_id")


def build(name: str, folder: Path, **changes: Any) -> Path:
    """Write the checkpoint. Weights are scaled up: small random models answer almost uniformly."""
    architecture, settings = CONFIGS[name]
    settings = settings | changes
    two_sided = "decoder_start_token_id" in settings
    tokenizer = _characters(prefix=architecture in {"OPTForCausalLM", "LlamaForCausalLM"}, suffix=two_sided)
    loader = getattr(transformers, architecture)
    torch.manual_seed(5)
    config = {name: value for name, value in settings.items() if name not in _FORCED}
    model = loader(loader.config_class(**{"vocab_size": len(tokenizer)} | config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases that are all ones or zeros would hide mistakes
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif parameter.requires_grad:
                parameter.mul_(3)
    forced = {name: settings[name] for name in ("decoder_start_token_id", *_FORCED) if name in settings}
    # no end token: every continuation is as long as it may be
    model.generation_config = GenerationConfig(pad_token_id=PAD, bad_words_ids=[[PAD]], **forced)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _characters(*, prefix: bool, suffix: bool) -> PreTrainedTokenizerFast:
    special = ["<pad>", "<s>", "</s>", "<unk>", "fr_XX"]
    vocab = {token: index for index, token in enumerate([*special, *string.printable[:96]])}
    characters = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    characters.decoder = decoders.Fuse()
    if prefix or suffix:
        characters.post_processor = processors.TemplateProcessing(
            single=f"{'</s> ' if prefix else ''}$A{' </s>' if suffix else ''}", special_tokens=[("</s>", EOS)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["fr_XX"],
        model_max_length=CONTEXT,
    )
