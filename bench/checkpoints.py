"""Checkpoints of full size with random weights and made-up tokenizers, exported by the real exporter. Needs PyTorch.

    python -m bench.checkpoints SHAPE FOLDER

makes FOLDER/SHAPE/checkpoint and publishes SHAPE-fp32 and SHAPE-int8 in FOLDER/repository, unless they are there by today's recipe. The export is
the recipe's own steps but for the parity gate (bench.publishing).
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from tokenizers import pre_tokenizers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
)

from bench.publishing import publish
from bench.shapes import SHAPES, SYLLABLES, Shape, words

WORDS = "words.json"
"""Beside the checkpoint: token id to word, of the words that prompts are made of; and the ids that begin and end a prompt."""
_SPACE = "\u2581"


def make(shape: Shape, folder: Path, write: Callable[[Shape, Path], None]) -> Path:
    """The checkpoint folder, written when it is missing."""
    target = folder / "checkpoint"
    if not target.exists():
        staging = folder / ".checkpoint"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        torch.manual_seed(0)
        write(shape, staging)
        staging.rename(target)
    return target


def _gpt2(shape: Shape, folder: Path) -> None:
    tokenizer = _byte_level_tokenizer(shape)
    config = GPT2Config(
        vocab_size=shape.vocab_size,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_inner=shape.feed_forward,
        n_positions=shape.positions,
        bos_token_id=0,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=None, pad_token_id=0)
    save(model, tokenizer, folder)
    vocab = tokenizer.get_vocab()
    known = {vocab[f"Ġ{word}"]: word for word in words() if f"Ġ{word}" in vocab}
    write_words(folder, known, end_ids=[])


def _byte_level_tokenizer(shape: Shape) -> GPT2Tokenizer:
    """Byte-level BPE whose merges build syllables, then words from the left: no other merge can come first."""
    tokens = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [(syllable[0], syllable[1]) for syllable in SYLLABLES]
    merges += [("Ġ", syllable) for syllable in SYLLABLES]
    merges += [
        (f"Ġ{word[:-2]}", word[-2:]) for word, _ in zip(words(), range(shape.vocab_size), strict=False)
    ]
    merges = merges[: shape.vocab_size - len(tokens)]
    tokens += [first + second for first, second in merges]
    vocab = {token: index for index, token in enumerate(tokens)}
    return GPT2Tokenizer(vocab=vocab, merges=merges, model_max_length=shape.positions)


def _marian(shape: Shape, folder: Path) -> None:
    tokenizer = _sentencepiece_tokenizer(shape, folder)
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    config = MarianConfig(
        vocab_size=shape.vocab_size,
        decoder_vocab_size=shape.vocab_size,
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feed_forward,
        decoder_ffn_dim=shape.feed_forward,
        activation_function="swish",
        scale_embedding=True,
        max_position_embeddings=shape.positions,
        pad_token_id=pad,
        eos_token_id=eos,
        bos_token_id=None,
        decoder_start_token_id=pad,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config)
    # Real ones suppress <pad>; here </s> as well, so that every answer has its full length.
    model.generation_config = GenerationConfig(
        pad_token_id=pad, eos_token_id=eos, decoder_start_token_id=pad, suppress_tokens=[eos, pad]
    )
    save(model, tokenizer, folder)
    vocab = tokenizer.get_vocab()
    known = {vocab[f"{_SPACE}{word}"]: word for word in words() if f"{_SPACE}{word}" in vocab}
    write_words(folder, known, end_ids=[eos])


def _sentencepiece_tokenizer(shape: Shape, folder: Path) -> MarianTokenizer:
    letters = [_SPACE, *sorted(set("".join(SYLLABLES)))]
    count = shape.vocab_size - 3 - len(letters)
    whole = [f"{_SPACE}{word}" for word, _ in zip(words(), range(count), strict=False)]
    for name in ("source", "target"):
        _write_sentencepiece(folder / f"{name}.spm", letters, whole)
    vocab = {token: index for index, token in enumerate(["</s>", "<unk>", *letters, *whole, "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    return MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        model_max_length=shape.positions,
    )


def _write_sentencepiece(path: Path, letters: list[str], whole: list[str]) -> None:
    """A unigram model, its normalization taken from one that is trained on a line; a word scores better than its letters."""
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["ba be bi bo bu"]),
            model_prefix=f"{folder}/line",
            vocab_size=12,
            hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc",
            bos_id=-1,
            eos_id=0,
            unk_id=1,
            minloglevel=2,
            num_threads=1,
        )
        schema: Any = sentencepiece_model_pb2
        model = schema.ModelProto()
        model.ParseFromString(Path(f"{folder}/line.model").read_bytes())
    del model.pieces[2:]
    for piece, score in [*((word, -2.0) for word in whole), *((letter, -9.0) for letter in letters)]:
        model.pieces.add(piece=piece, score=score)
    path.write_bytes(model.SerializeToString())


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_words(folder: Path, known: dict[int, str], **ends: list[int]) -> None:
    """`ends`: begin_ids, where a prompt has such, and end_ids."""
    (folder / WORDS).write_text(json.dumps({"words": known, **ends}), encoding="utf-8")


def main(name: str, folder: str) -> None:
    shape = SHAPES[name]
    write = _gpt2 if shape.architecture == "gpt2" else _marian
    publish(shape, make(shape, Path(folder) / name, write), Path(folder) / "repository")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(*sys.argv[1:])
