"""BERT checkpoints of full size with random weights and a made-up vocabulary, exported by the real exporter. Needs PyTorch.

    python -m bench.encoder.checkpoints SHAPE FOLDER [again]

makes FOLDER/SHAPE/checkpoint and publishes SHAPE-fp32 and SHAPE-int8 in FOLDER/repository, unless they are there by today's recipe;
`again` publishes them anew.
"""

from __future__ import annotations

import logging
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from bench.checkpoints import make, save, write_words
from bench.encoder.work import CLASSIFIER
from bench.publishing import publish
from bench.shapes import SHAPES, SYLLABLES, Shape, words

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _bert(shape: Shape, folder: Path) -> None:
    vocab = _vocabulary(shape)
    config = BertConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.positions,
        position_embedding_type="absolute",  # CTranslate2's converter asks for it
    )
    model = BertForSequenceClassification(config)
    save(model, BertTokenizer(vocab=vocab, model_max_length=shape.positions), folder)
    classifier = model.classifier
    np.savez(
        folder / CLASSIFIER, weight=classifier.weight.detach().numpy(), bias=classifier.bias.detach().numpy()
    )
    known = {token: word for word, token in vocab.items() if word.isalpha() and len(word) > 1}
    write_words(folder, known, begin_ids=[vocab["[CLS]"]], end_ids=[vocab["[SEP]"]])


def _vocabulary(shape: Shape) -> dict[str, int]:
    """WordPiece: whole words, and the letters that any other word falls into."""
    letters = sorted(set("".join(SYLLABLES)))
    tokens = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    tokens += islice(words(), shape.vocab_size - len(tokens))
    return {token: index for index, token in enumerate(tokens)}


def main(name: str, folder: str, again: str = "") -> None:
    shape = SHAPES[name]
    checkpoint = make(shape, Path(folder) / name, _bert)
    publish(shape, checkpoint, Path(folder) / "repository", again == "again")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(*sys.argv[1:])
