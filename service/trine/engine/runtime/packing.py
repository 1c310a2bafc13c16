"""Where each token goes: index plans between the packed axis [T] and the padded attention axis [B, S]. Pure numpy, any thread.

A packed graph computes on this step's tokens of all sequences side by side; only attention sees a batch. `pad` gathers the
packed rows into [B, S], `unpad` gathers them back. Padding points at some real token: attention never reads it, since the
lengths rule. Rows of the cache that have nothing to do in a step are idle: length 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trine.errors import Bug

Array = NDArray[Any]

MIN_WIDTH = 2
"""Least S. GroupQueryAttention takes another kernel for S = 1, with other rounding (8e-7), so a row's answer would depend on
whether others have a prompt in the same step (docs/decisions/0002). Encoder-decoders step one token a row
always, so S = 1 is theirs.

Within S >= 2 a query that stands alone in its block of 2 * head_dim queries is computed as a vector, again with other rounding:
so it is for a chunk's last token where its length is 1 modulo that block. The bits of a prompt therefore depend on how it is
cut, and scheduling must cut it the same way in any company."""


class Chunk(Protocol):
    """What one sequence feeds in one step; scheduling has the class."""

    @property
    def row(self) -> int: ...
    @property
    def tokens(self) -> Sequence[int]: ...
    @property
    def past(self) -> int: ...
    @property
    def choice(self) -> object | None: ...


@dataclass(slots=True, frozen=True)
class StepPlan:
    feeds: dict[str, Array]
    rows: int
    """N: rows 0..N-1 of the cache take part, idle ones included."""
    wanted: int
    """W: rows of logits, one for each chunk with a choice, in the chunks' order."""


def plan_sequences(
    sequences: Sequence[Sequence[int]], offset: int, types: Sequence[Sequence[int] | None] | None = None
) -> dict[str, Array]:
    """Feeds for whole sequences (encoders). All int64 but `lens` [B] and `total` [], which are int32.

    input_ids, position_ids, token_type_ids [1, T]; kv_pos [S]; pad [B*S]; unpad [T]; first [B] is each sequence's first token.
    `types` has for each sequence the types of its tokens (BERT: 1 for those of the second text of a pair), or None for all 0.
    """
    lens = np.array([len(tokens) for tokens in sequences], np.int64)
    if not lens.size or lens.min() < 1:
        raise Bug("an empty sequence reached the runtime")
    width = max(int(lens.max()), MIN_WIDTH)
    starts, pad, unpad = _indices(lens, width)
    input_ids = _flat(sequences, int(lens.sum()))
    return {
        "input_ids": input_ids,
        "position_ids": _positions(input_ids[0], starts, lens, offset)[None],
        "token_type_ids": _types(types or (), starts, lens)[None],
        "kv_pos": np.arange(width),
        "pad": pad,
        "unpad": unpad,
        "lens": lens.astype(np.int32),
        "total": np.array(width, np.int32),
        "first": starts,
    }


def plan_step(chunks: Sequence[Chunk], offset: int, min_width: int) -> StepPlan:
    """Feeds for one step on the cache: `plan_sequences`' plus seqlens [N] int32 and out_rows [W].

    `seqlens` is the length after the step minus 1, and 0 for idle rows, whose cache attention neither reads nor writes;
    `kv_pos` has `total` entries.
    """
    by_row = sorted(chunks, key=lambda chunk: chunk.row)
    counts = [len(chunk.tokens) for chunk in by_row]
    if not counts or min(counts) < 1:
        raise Bug("an empty step reached the runtime")
    index = [chunk.row for chunk in by_row]
    rows = index[-1] + 1
    lens, past = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    lens[index] = counts
    past[index] = [chunk.past for chunk in by_row]
    tokens = sum(counts)
    width = max(int(lens.max()), min_width)
    starts, pad, unpad = _indices(lens, width)
    seen = past + lens
    total = max(int(seen.max()), width)
    ends = starts + lens - 1
    out_rows = ends[[chunk.row for chunk in chunks if chunk.choice is not None]]
    feeds = {
        "input_ids": _flat([chunk.tokens for chunk in by_row], tokens),
        "position_ids": (np.arange(tokens) + np.repeat(past - starts + offset, lens))[None],
        "kv_pos": np.arange(total),
        "pad": pad,
        "unpad": unpad,
        "lens": lens.astype(np.int32),
        "seqlens": np.where(lens > 0, seen - 1, 0).astype(np.int32),
        "total": np.array(total, np.int32),
        "out_rows": out_rows,
    }
    return StepPlan(feeds, rows, len(out_rows))


def plan_pages(chunks: Sequence[Chunk], offset: int, pages: int) -> StepPlan:
    """Feeds for one step on a paged cache, whose row r is the pages r * `pages` to (r + 1) * `pages` - 1. No row is idle.

    input_ids, position_ids [1, T] and out_rows [W] int64, in the chunks' order; and for PagedAttention, all int32: cumulative [N + 1],
    where each chunk begins in the packed axis; past_lengths [N]; block_table [N, pages]; bounds [3], the longest chunk, the longest
    sequence after the step, and that once more, as a lower bound.
    """
    counts = np.array([len(chunk.tokens) for chunk in chunks], np.int64)
    if not counts.size or counts.min() < 1:
        raise Bug("an empty step reached the runtime")
    past = np.array([chunk.past for chunk in chunks], np.int64)
    rows = np.array([chunk.row for chunk in chunks], np.int32)
    ends = counts.cumsum()
    longest = int((past + counts).max())
    feeds = {
        "input_ids": _flat([chunk.tokens for chunk in chunks], int(ends[-1])),
        "position_ids": (np.arange(ends[-1]) + np.repeat(past - (ends - counts) + offset, counts))[None],
        "cumulative": np.concatenate(([0], ends)).astype(np.int32),
        "past_lengths": past.astype(np.int32),
        "block_table": rows[:, None] * np.int32(pages) + np.arange(pages, dtype=np.int32),
        "bounds": np.array([counts.max(), longest, longest], np.int32),
        "out_rows": ends[[chunk.choice is not None for chunk in chunks]] - 1,
    }
    return StepPlan(feeds, len(chunks), len(feeds["out_rows"]))


def _flat(sequences: Sequence[Sequence[int]], tokens: int) -> Array:
    flat = np.fromiter(chain.from_iterable(sequences), np.int64, tokens)
    return flat[None]


def _positions(ids: Array, starts: Array, lens: Array, offset: int) -> Array:
    """[T]: offset, offset + 1, ... in each sequence.

    An offset is the padding id + 1, and padding that stands in a text ("<pad>", typed out) takes the place of that id and is not
    counted, as in transformers' RoBERTa.
    """
    positions: Array = np.arange(len(ids)) - np.repeat(starts, lens) + offset
    if offset and (padding := ids == offset - 1).any():
        passed = padding.cumsum()
        before = np.repeat(passed[starts] - padding[starts], lens)
        positions = np.where(padding, offset - 1, positions - (passed - before))
    return positions


def _types(types: Sequence[Sequence[int] | None], starts: Array, lens: Array) -> Array:
    """[T]."""
    flat = np.zeros(int(lens.sum()), np.int64)
    for own, start, length in zip(types, starts, lens, strict=False):
        if own is not None:
            flat[start : start + length] = own
    return flat


def _indices(lens: Array, width: int) -> tuple[Array, Array, Array]:
    """starts [B] of the sequences in the packed axis, pad [B*S], unpad [T]."""
    ends = lens.cumsum()
    starts = ends - lens
    columns = np.arange(width)
    real = columns < lens[:, None]
    pad = np.minimum(starts[:, None] + np.where(real, columns, 0), ends[-1] - 1)
    return starts, pad.reshape(-1), np.flatnonzero(real)
