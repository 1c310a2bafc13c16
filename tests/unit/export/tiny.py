"""Tiny seeded checkpoints of each family, with real tokenizers trained on a few sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
)

ENGLISH = [
    f"{subject} {verb} the {adjective} {thing} {when}."
    for subject in ("I", "We", "The old man", "Nobody", "My sister's cat")
    for verb in ("saw", "forgot", "can't find", "bought", "likes")
    for adjective in ("small", "green", "expensive", "very strange")
    for thing in ("house", "letter", "bicycle", "café", "dog")
    for when in ("yesterday", "at 7:45", "in 1999, twice", "again (why?)")
]
FRENCH = [
    f"{subject} {verb} la {thing} {when}."
    for subject in ("Je", "Nous", "Le vieil homme", "Personne", "Cet élève")
    for verb in ("voit", "a oublié", "n'achète pas", "préfère", "cherche")
    for thing in ("maison", "lettre", "bicyclette", "forêt", "clé", "garçonnière")
    for when in ("hier", "à 7 h 45", "en été", "déjà", "où ça ?", "cœur à cœur")
]


def bert(folder: Path, **changes: Any) -> Path:
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words.train_from_iterator(ENGLISH, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    words.decoder = decoders.WordPiece()
    tokenizer = BertTokenizer(vocab=words.get_vocab(), model_max_length=40)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 48,
        "id2label": {0: "bad", 1: "so so", 2: "good"},
        "label2id": {"bad": 0, "so so": 1, "good": 2},
    }
    torch.manual_seed(1)
    return _save(BertForSequenceClassification(BertConfig(**settings | changes)), tokenizer, folder)


def gpt2(folder: Path, **changes: Any) -> Path:
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(ENGLISH, trainer)
    trained = json.loads(pieces.to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    tokenizer = GPT2Tokenizer(vocab=trained["vocab"], merges=merges, model_max_length=96)
    settings = {
        "vocab_size": len(tokenizer),
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 96,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    torch.manual_seed(2)
    return _save(GPT2LMHeadModel(GPT2Config(**settings | changes)), tokenizer, folder)


def marian(folder: Path, **changes: Any) -> Path:
    tokenizer = marian_tokenizer(folder)
    size, pad, eos = len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    settings = {
        "vocab_size": size,
        "decoder_vocab_size": size,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "activation_function": "swish",
        "scale_embedding": True,
        "max_position_embeddings": 24,
        "pad_token_id": pad,
        "eos_token_id": eos,
        "bos_token_id": None,
        "decoder_start_token_id": pad,
        "forced_eos_token_id": eos,
    }
    torch.manual_seed(3)
    model = MarianMTModel(MarianConfig(**settings | changes))
    model.final_logits_bias.normal_()
    model.generation_config = GenerationConfig(
        pad_token_id=pad,
        eos_token_id=eos,
        decoder_start_token_id=pad,
        forced_eos_token_id=eos,
        bad_words_ids=[[pad]],
        max_length=24,
    )
    return _save(model, tokenizer, folder)


def marian_tokenizer(folder: Path) -> MarianTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    pieces: set[str] = set()
    for name, sentences in (("source", ENGLISH), ("target", FRENCH)):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_prefix=str(folder / name),
            vocab_size=150,
            hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc",
            character_coverage=1.0,
            bos_id=-1,
            eos_id=0,
            unk_id=1,
            minloglevel=2,
            num_threads=1,
        )
        (folder / f"{name}.model").rename(folder / f"{name}.spm")
        (folder / f"{name}.vocab").unlink()
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.spm"))
        pieces |= {processor.id_to_piece(index) for index in range(2, processor.get_piece_size())}
    kept = sorted(pieces - {sorted(pieces)[40]})  # one piece that vocab.json lacks
    vocab = {piece: index for index, piece in enumerate(["</s>", "<unk>", *kept, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    return MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        model_max_length=24,
    )


def _save(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Weights are scaled up: small random models answer almost uniformly, and every difference would drown."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.requires_grad:
                parameter *= 4
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
