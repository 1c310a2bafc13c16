"""Train the demo checkpoint `verse`: a small GPT-2 that goes on writing in the manner of Shakespeare's plays.

    python examples/training/verse.py --data DIR --out examples/checkpoints/verse

DIR/input.txt is "tiny Shakespeare", https://github.com/karpathy/char-rnn (data/tinyshakespeare): public-domain text. Its last
tenth is held out.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from recipe import optimize, save_half, write_card

END = "<|endoftext|>"
CONTEXT = 512


def train_tokenizer(text: str, folder: Path) -> GPT2TokenizerFast:
    """A byte-level BPE of 1,536 pieces, trained on the training part only."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([text], vocab_size=1536, min_frequency=2, special_tokens=[END])
    bpe.save(str(folder / "tokenizer.json"))
    tokenizer = GPT2TokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        unk_token=END,
        bos_token=END,
        eos_token=END,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def perplexity(model: GPT2LMHeadModel, ids: torch.Tensor) -> float:
    """exp of the mean loss per token over windows that do not overlap."""
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, CONTEXT):
            window = ids[start : start + CONTEXT + 1]
            logits = model(window[None, :-1]).logits[0]
            total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
            count += len(window) - 1
    return math.exp(total / count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    text = (options.data / "input.txt").read_text(encoding="utf-8")
    border = text.index("\n\n", len(text) * 9 // 10) + 2
    tokenizer = train_tokenizer(text[:border], options.out)
    train = torch.tensor(tokenizer(text[:border]).input_ids)
    held_out = torch.tensor(tokenizer(text[border:]).input_ids)
    end = tokenizer.eos_token_id
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=CONTEXT,
            n_embd=192,
            n_layer=4,
            n_head=6,
            resid_pdrop=0.2,
            embd_pdrop=0.2,
            attn_pdrop=0.2,
            bos_token_id=end,
            eos_token_id=end,
        )
    )
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    print(f"{len(train)} tokens, {model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    rng = random.Random(1)

    def loss_of(step: int) -> torch.Tensor:
        starts = [rng.randrange(len(train) - CONTEXT) for _ in range(6)]
        window = torch.stack([train[at : at + CONTEXT + 1] for at in starts])
        logits = model(window[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())

    optimize(
        model,
        loss_of,
        steps=options.steps,
        peak=2e-3,
        decay=0.1,
        save=lambda: save_half(model, options.out),
    )
    save_half(model, options.out)
    model.generation_config.save_pretrained(options.out)
    rounded = GPT2LMHeadModel.from_pretrained(options.out, dtype=torch.float32)
    result = perplexity(rounded, held_out)
    per_character = math.log2(result) * len(held_out) / len(text[border:])
    print(f"perplexity {result:.2f} a token, {per_character:.3f} bits a character, held out")
    prompt = tokenizer("ROMEO:", return_tensors="pt").input_ids
    print(tokenizer.decode(rounded.generate(prompt, max_new_tokens=80, do_sample=True, top_p=0.9)[0]))
    write_card(options.out, CARD.format(perplexity=result, bits=per_character, steps=options.steps))
    speeches = [part for part in text[border:].split("\n\n") if 40 < len(part) < 400]
    prompts = [" ".join(part.split(" ")[:9]) for part in rng.sample(speeches, 50)]
    (options.out.parent / "verse.held-out.jsonl").write_text(
        "".join(json.dumps({"text": prompt}) + "\n" for prompt in prompts), encoding="utf-8"
    )


CARD = """---
license: mit
language: [en]
pipeline_tag: text-generation
---
# verse

A small GPT-2 (4 layers, width 192, context 512, byte-level BPE of 1,536 pieces) that goes on writing in the manner of
Shakespeare's plays. It exists so that Trine can be shown and tested on a real checkpoint.

- **Data**: tiny Shakespeare, https://github.com/karpathy/char-rnn, public-domain text in a repository under the MIT licence.
- **Recipe**: `examples/training/verse.py`, {steps} steps of 6 x 512 tokens, from random weights, on CPU.
- **Held out**: the last tenth of the text: perplexity **{perplexity:.2f}** per token, {bits:.3f} bits per character
  (windows of 512 that do not overlap, the fp16 weights in this folder).
- **Limits**: it has the form of a play and little of its sense.
- **Licence**: MIT; the text is in the public domain.
"""

if __name__ == "__main__":
    main()
