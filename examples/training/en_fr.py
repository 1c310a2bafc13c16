"""Train the demo checkpoint `en-fr`: a small Marian that translates short English sentences to French.

    python examples/training/en_fr.py --data DIR --out examples/checkpoints/en-fr

DIR/fra.txt is the English-French file of https://www.manythings.org/anki/ (Tatoeba sentence pairs, CC BY 2.0): one
pair a line, English<TAB>French, more columns ignored. Sentences are held out by their English side.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from pathlib import Path

import sacrebleu
import sentencepiece
import torch
from transformers import GenerationConfig, MarianConfig, MarianMTModel, MarianTokenizer

from recipe import Batches, optimize, pad, save_half, write_card

PIECES = 3000
LONGEST = 40


def read_pairs(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Pairs grouped by the English side, letter case and punctuation aside, so that no variant of a held-out sentence leaks."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            english, french = line.split("\t")[:2]
            groups[re.sub(r"[^\w]+", " ", english.casefold()).strip()].append((english, french))
    return groups


def split(
    groups: dict[str, list[tuple[str, str]]], held_out: int
) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
    """Training pairs, and `held_out` distinct English sentences with all their French variants."""
    keys = sorted(groups)
    random.Random(0).shuffle(keys)
    test = []
    for key in keys[:held_out]:
        english = groups[key][0][0]
        test.append((english, [french for _, french in groups[key]]))
    return [pair for key in keys[held_out:] for pair in groups[key]], test


def train_tokenizer(pairs: list[tuple[str, str]], folder: Path) -> MarianTokenizer:
    """source.spm, target.spm and their joint vocab.json, laid out as OPUS-MT checkpoints have them."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces: set[str] = set()
    for side, name in enumerate(("source", "target")):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sorted({pair[side] for pair in pairs})),
            model_prefix=str(folder / name),
            vocab_size=PIECES,
            model_type="unigram",
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
        pieces |= {processor.id_to_piece(i) for i in range(2, processor.get_piece_size())}
    names = ["</s>", "<unk>", *sorted(pieces), "<pad>"]
    vocab = {piece: index for index, piece in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    tokenizer = MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        source_lang="en",
        target_lang="fr",
        model_max_length=128,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def build(tokenizer: MarianTokenizer) -> MarianMTModel:
    size, pad_id, eos_id = len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id
    model = MarianMTModel(
        MarianConfig(
            vocab_size=size,
            decoder_vocab_size=size,
            d_model=192,
            encoder_layers=3,
            decoder_layers=3,
            encoder_attention_heads=6,
            decoder_attention_heads=6,
            encoder_ffn_dim=768,
            decoder_ffn_dim=768,
            dropout=0.1,
            activation_function="swish",
            scale_embedding=True,
            max_position_embeddings=128,
            pad_token_id=pad_id,
            eos_token_id=eos_id,
            bos_token_id=None,
            decoder_start_token_id=pad_id,
            forced_eos_token_id=eos_id,
        )
    )
    model.generation_config = GenerationConfig(
        pad_token_id=pad_id,
        eos_token_id=eos_id,
        decoder_start_token_id=pad_id,
        forced_eos_token_id=eos_id,
        bad_words_ids=[[pad_id]],
        max_length=128,
    )
    return model


def translate(model: MarianMTModel, tokenizer: MarianTokenizer, texts: list[str]) -> list[str]:
    model.eval()
    answers: list[str] = []
    for start in range(0, len(texts), 50):
        batch = tokenizer(texts[start : start + 50], return_tensors="pt", padding=True)
        ids = model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            num_beams=1,
            do_sample=False,
            max_length=64,
        )
        answers += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return answers


def score(answers: list[str], test: list[tuple[str, list[str]]]) -> float:
    """chrF (sacrebleu's default) against all variants; missing variants repeat the first, which changes nothing in a maximum."""
    most = max(len(variants) for _, variants in test)
    references = [[variants[min(i, len(variants) - 1)] for _, variants in test] for i in range(most)]
    return float(sacrebleu.corpus_chrf(answers, references).score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5600)
    parser.add_argument("--tokens", type=int, default=1500, help="padded target tokens a batch")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    pairs, test = split(read_pairs(options.data / "fra.txt"), held_out=1000)
    tokenizer = train_tokenizer(pairs, options.out)
    sources = tokenizer([english for english, _ in pairs]).input_ids
    targets = tokenizer(text_target=[french for _, french in pairs]).input_ids
    kept = [i for i in range(len(pairs)) if len(sources[i]) <= LONGEST and len(targets[i]) <= LONGEST]
    sources, targets = [sources[i] for i in kept], [targets[i] for i in kept]
    lengths = [max(len(a), len(b)) for a, b in zip(sources, targets, strict=True)]
    model = build(tokenizer)
    print(f"{len(kept)} pairs, {model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    pad_id = tokenizer.pad_token_id
    batches = Batches(lengths, options.tokens)

    def loss_of(step: int) -> torch.Tensor:
        batch = batches.next()
        source, target = pad([sources[i] for i in batch], pad_id), [targets[i] for i in batch]
        logits = model(
            input_ids=source,
            attention_mask=(source != pad_id).long(),
            decoder_input_ids=pad([[pad_id, *row[:-1]] for row in target], pad_id),
            use_cache=False,
        ).logits
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), pad(target, -100).flatten(), label_smoothing=0.1
        )

    optimize(
        model,
        loss_of,
        steps=options.steps,
        peak=2e-3,
        warmup=400,
        save=lambda: save_half(model, options.out),
    )
    save_half(model, options.out)
    model.generation_config.save_pretrained(options.out)
    rounded = MarianMTModel.from_pretrained(options.out, dtype=torch.float32)
    answers = translate(rounded, tokenizer, [english for english, _ in test])
    chrf = score(answers, test)
    for (english, _), answer in list(zip(test, answers, strict=True))[:12]:
        print(f"  {english}  ->  {answer}")
    print(f"chrF {chrf:.1f} on {len(test)} held-out English sentences")
    write_card(options.out, CARD.format(chrf=chrf, steps=options.steps, tokens=options.tokens))
    held = options.out.parent / "en-fr.held-out.jsonl"
    held.write_text(
        "".join(
            json.dumps({"text": english, "references": variants}, ensure_ascii=False) + "\n"
            for english, variants in test
        ),
        encoding="utf-8",
    )


CARD = """---
license: cc-by-2.0
language: [en, fr]
pipeline_tag: translation
---
# en-fr

A small Marian (3+3 layers, width 192, two SentencePiece vocabularies of 3,000 pieces) that translates short, everyday English
sentences to French. It exists so that Trine can be shown and tested on a real checkpoint; it is no substitute for OPUS-MT.

- **Data**: English-French sentence pairs of Tatoeba, https://tatoeba.org, as published at https://www.manythings.org/anki/
  (2017-09-29, 142,787 pairs), CC BY 2.0 France. Credit: the Tatoeba contributors and manythings.org.
- **Recipe**: `examples/training/en_fr.py`, {steps} steps of up to {tokens} padded tokens, from random weights, on CPU.
- **Held out**: 1,000 distinct English sentences, chosen by their English side (case and punctuation aside), with all their
  French variants as references: chrF **{chrf:.1f}** (sacrebleu's default, greedy search, the fp16 weights in this folder).
- **Limits**: sentences longer than about 25 words, names and rare words come out badly.
- **Licence**: the weights follow the data, CC BY 2.0.
"""

if __name__ == "__main__":
    main()
