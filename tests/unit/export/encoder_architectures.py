"""A tiny seeded checkpoint of every encoder in the table, with a small tokenizer of its own kind."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AlbertTokenizer,
    BertTokenizer,
    CamembertTokenizer,
    DebertaV2Tokenizer,
    DistilBertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from tests.unit.export.tiny import ENGLISH

CONTEXT = 64
LABELS = ("O", "PER", "LOC", "ORG", "MISC")
HEADS = ("ForSequenceClassification", "ForTokenClassification", "Model")

Settings = dict[str, Any]


def _pieces(first: list[str], initial: list[str]) -> list[str]:
    """`first`, then pieces of words; every printable character is one."""
    found = Tokenizer(models.WordPiece(unk_token=first[1]))
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(ENGLISH, trainers.WordPieceTrainer(vocab_size=250, show_progress=False))
    words = sorted(found.get_vocab())
    return list(dict.fromkeys([*first, *initial, *words]))


def _bert(kind: type[PreTrainedTokenizerFast] = BertTokenizer) -> PreTrainedTokenizerFast:
    vocab = _pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], list(string.printable[:94]))
    return kind(vocab={piece: index for index, piece in enumerate(vocab)}, model_max_length=CONTEXT)


def _roberta() -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return RobertaTokenizer(
        vocab={piece: index for index, piece in enumerate(vocab)}, merges=[], model_max_length=CONTEXT
    )


def _unigram(kind: type[PreTrainedTokenizerFast], special: list[str]) -> PreTrainedTokenizerFast:
    pieces = [
        word.removeprefix("##") if word.startswith("##") else f"▁{word}" for word in _pieces(special, [])
    ]
    pieces = list(dict.fromkeys([*special, "▁", *string.printable[:94], *pieces[len(special) :]]))
    return kind(
        vocab=[(piece, 0.0 if piece in special else -(len(piece) ** 0.5)) for piece in pieces],
        model_max_length=CONTEXT,
    )


_XLM = ["<s>", "<pad>", "</s>", "<unk>"]
TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerFast]] = {
    "Bert": _bert,
    "Roberta": _roberta,
    "XLMRoberta": lambda: _unigram(XLMRobertaTokenizer, _XLM),
    "DistilBert": lambda: _bert(DistilBertTokenizer),
    "Electra": _bert,
    "Albert": lambda: _unigram(AlbertTokenizer, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]),
    "Camembert": lambda: _unigram(
        CamembertTokenizer, ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<s>", "</s>", "<mask>"]
    ),
    "DebertaV2": lambda: _unigram(DebertaV2Tokenizer, ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]),
}
"""By the beginning of the architectures' names."""

_BERT: Settings = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": CONTEXT,
}
_ROBERTA = _BERT | {"max_position_embeddings": CONTEXT + 2, "type_vocab_size": 1}
_SETTINGS: Mapping[str, Settings] = {
    "Bert": _BERT,
    "Roberta": _ROBERTA,
    "XLMRoberta": _ROBERTA,
    "DistilBert": {
        "dim": 64,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 96,
        "max_position_embeddings": CONTEXT,
        "sinusoidal_pos_embds": False,
    },
    "Electra": _BERT | {"embedding_size": 32},
    "Albert": _BERT
    | {"embedding_size": 32, "num_hidden_layers": 4, "num_hidden_groups": 2, "classifier_dropout_prob": 0.0},
    "Camembert": _ROBERTA,
    "DebertaV2": _BERT
    | {
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
    },
}

CLASSIFIER, LABELER, EMBEDDER = (
    "BertForSequenceClassification",
    "RobertaForTokenClassification",
    "DistilBertModel",
)
ARCHITECTURES = tuple(name + head for name in TOKENIZERS for head in HEADS)


def build(architecture: str, folder: Path, **changes: Any) -> Path:
    """Write the checkpoint. Weights are scaled up: small random models answer almost uniformly."""
    head = next(head for head in HEADS if architecture.endswith(head))
    name = architecture.removesuffix(head)
    tokenizer, loader = TOKENIZERS[name](), getattr(transformers, architecture)
    labels = {} if head == "Model" else {"id2label": dict(enumerate(LABELS))}
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("pad", "bos", "eos")}
    settings = {"vocab_size": len(tokenizer)} | special | labels | _SETTINGS[name] | changes
    torch.manual_seed(7)
    model = loader(loader.config_class(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases that are all ones or zeros would hide mistakes
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                parameter.mul_(3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence_transformer(
    folder: Path, mode: str | None, *, normalize: bool = False, max_tokens: int | None = None
) -> Path:
    """Add the files of sentence-transformers; `mode` is a pooling's switch, as "mean_tokens"."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] * normalize)]
    write(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(modules)
        ],
    )
    switches = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    config = {"word_embedding_dimension": 64} | {f"pooling_mode_{each}": each == mode for each in switches}
    (folder / "1_Pooling").mkdir()
    write(folder / "1_Pooling" / "config.json", config)
    if max_tokens is not None:
        settings = {"max_seq_length": max_tokens, "do_lower_case": False}
        write(folder / "sentence_bert_config.json", settings)
    return folder


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
