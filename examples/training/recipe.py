"""What the recipes share: film reviews, batching by length, the optimizer's schedule, and saving a checkpoint in half precision."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast


def film_reviews(folder: Path, label: str) -> list[str]:
    """The snippets of sentence polarity v1.0, of the label pos or neg."""
    text = (folder / "rt_polarity" / f"rt-polarity.{label}").read_text(encoding="latin-1")
    return [line.strip() for line in text.split("\n") if line.strip()]


def batches_by_length(lengths: Sequence[int], token_budget: int, rng: random.Random) -> Iterator[list[int]]:
    """One epoch of index batches whose padded size stays within `token_budget`.

    Indices are sorted by length inside random pools of 4,096, so that padding stays small while the order stays random.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), 4096):
        pool = sorted(order[start : start + 4096], key=lambda index: lengths[index])
        batch: list[int] = []
        for index in pool:
            if batch and (len(batch) + 1) * lengths[index] > token_budget:
                batches.append(batch)
                batch = []
            batch.append(index)
        batches.append(batch)
    rng.shuffle(batches)
    yield from batches


class Batches:
    """Endless batches of indices, reshuffled each epoch."""

    def __init__(self, lengths: Sequence[int], tokens: int) -> None:
        self.lengths, self.tokens, self.rng = lengths, tokens, random.Random(1)
        self.epoch: Iterator[list[int]] = iter(())

    def next(self) -> list[int]:
        batch = next(self.epoch, None)
        if batch is None:
            self.epoch = batches_by_length(self.lengths, self.tokens, self.rng)
            batch = next(self.epoch)
        return batch


def masked(
    ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast, rate: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Replace a share of the words by [MASK]; the labels are the words there and -100 elsewhere.

    The special tokens must be the first five ids, as BertWordPieceTokenizer's training leaves them.
    """
    chosen = (torch.rand(ids.shape) < rate) & (ids > 4)
    return ids.masked_fill(chosen, tokenizer.mask_token_id), ids.masked_fill(~chosen, -100)


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Ragged ids to an int64 tensor [len(rows), longest], filled with `value` on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([list(row) + [value] * (width - len(row)) for row in rows])


def optimize(
    model: torch.nn.Module,
    loss_of: Callable[[int], torch.Tensor],
    *,
    steps: int,
    peak: float,
    warmup: int = 300,
    decay: float = 0.01,
    save: Callable[[], None] | None = None,
) -> None:
    """AdamW with linear warm-up and cosine decay to zero; `loss_of(step)` gives the loss of one batch.

    `save` is called every 1,000 steps, so that an interrupted run leaves its last snapshot.
    """
    kept = [p for p in model.parameters() if p.dim() > 1]
    bare = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": kept, "weight_decay": decay}, {"params": bare, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), eps=1e-9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))),
    )
    model.train()
    began, seen = time.monotonic(), 0.0
    for step in range(steps):
        loss = loss_of(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        seen += loss.item()
        if (step + 1) % 100 == 0:
            rate = (step + 1) / (time.monotonic() - began)
            print(f"step {step + 1}/{steps}  loss {seen / 100:.3f}  {rate:.2f} steps/s", flush=True)
            seen = 0.0
        if save is not None and (step + 1) % 1000 == 0:
            save()


def save_half(model: torch.nn.Module, folder: Path) -> None:
    """Write config.json and a fp16 model.safetensors. Every published score is of these rounded weights."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)  # type: ignore[operator]


def write_card(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text, encoding="utf-8")
