"""Prompts that begin alike share keys and values: which beginnings are kept, and the copying from and to rows.

A block is a whole chunk of a prompt: `size` tokens at a multiple of `size`. A chunk's keys and values depend on all tokens before it
and on how the prompt is cut. So a block is known by its tokens and by the block before it, and only chunks that every prompt runs in
the same way are blocks: a reused block has the bits that running it would give (docs/decisions/0010).
Engine process, its only thread.
"""

from __future__ import annotations

import logging
from array import array
from collections import OrderedDict
from collections.abc import Sequence as Many

from trine.engine.scheduling.meter import Meter
from trine.engine.scheduling.runner import PrefixRunner
from trine.engine.scheduling.sequence import Sequence

logger = logging.getLogger(__name__)

_NO_BLOCK = -1
_LEFT_TO_RUN = 2
"""Tokens that a reused block leaves at least. One has to run for the next token; of one alone, `policy.next_chunk` cuts otherwise."""

_Key = tuple[int, bytes]
"""The number of the block before, and the tokens themselves: whatever hashes do, no block is taken for another."""


class PrefixCache:
    """What the decoder's batcher asks when a sequence gets its row, and tells when a whole chunk has run. A limit of 0 switches it off.

    All callers of the checkpoint share it.
    """

    def __init__(self, runner: PrefixRunner, size: int, limit: int, meter: Meter) -> None:
        """`size` is the tokens of a whole chunk, `limit` bytes."""
        self._runner = runner
        self._meter = meter
        self._index = PrefixIndex(size, runner.block_bytes(size), limit)
        self._on = limit > 0

    def restore(self, sequence: Sequence) -> None:
        """Begin the sequence's row with what is kept of its prompt."""
        if not self._on:
            return
        blocks = self._index.find(sequence.context)
        if blocks:
            self._runner.restore(blocks, sequence.row)
            sequence.past = sequence.cached = len(blocks) * self._index.size
        self._meter.looked_up(len(sequence.context), sequence.cached)

    def save(self, sequence: Sequence) -> None:
        """Keep the whole chunk that the sequence has just run, and that does not yet count as its past."""
        begin, size = sequence.past, self._index.size
        block = self._index.keep(sequence.context, begin)
        if block is None:
            return
        try:
            self._runner.save(block, sequence.row, begin, size)
        except Exception:  # no memory: a text is worth more than its beginning
            logger.exception("a prompt's beginning could not be kept")
            self._index.forget(block)
        self._meter.kept(self._index.bytes_used)


class PrefixIndex:
    """Numbers of blocks by the tokens that lead to them, without arrays. For a new one the least recently used one is given up.

    Who uses a block uses those before it, and these count as used later: the least recently used one is never before another.
    """

    def __init__(self, size: int, block_bytes: int, limit: int) -> None:
        """Blocks of `size` tokens and `block_bytes` bytes each, of at most `limit` bytes together."""
        self.size = size
        self._block_bytes = block_bytes
        self._most = limit // block_bytes
        self._blocks: OrderedDict[_Key, int] = OrderedDict()
        """The least recently used first."""
        self._free: list[int] = []
        """Numbers that were forgotten."""

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def bytes_used(self) -> int:
        return len(self._blocks) * self._block_bytes

    def find(self, prompt: Many[int]) -> list[int]:
        """The blocks that `prompt` begins with, in order, as far as they are kept and leave enough of it to run."""
        return [self._blocks[key] for key in self._path(prompt, (len(prompt) - _LEFT_TO_RUN) // self.size)]

    def keep(self, prompt: Many[int], begin: int) -> int | None:
        """A number, 0 to the most blocks minus 1, for the chunk of `prompt` at `begin`; another block may have had it before.

        None where nothing is to be kept: it is there already, a block before it was given up meanwhile, or those before it take
        all the room.
        """
        place = begin // self.size
        path = self._path(prompt, place)
        if len(path) < place or place >= self._most:
            return None
        key = self._key(prompt, place, path)
        if key in self._blocks:
            return None
        number = self._blocks[key] = self._number()
        self._use([*path, key])
        return number

    def forget(self, number: int) -> None:
        """Take back what `keep` has just given: nothing stands there. No block can have followed it yet."""
        key = next(key for key, kept in self._blocks.items() if kept == number)
        del self._blocks[key]
        self._free.append(number)

    def _number(self) -> int:
        """One that is free, or that of the least recently used block, which is given up."""
        if self._free:
            return self._free.pop()
        if len(self._blocks) == self._most:
            return self._blocks.popitem(last=False)[1]
        return len(self._blocks)

    def _path(self, prompt: Many[int], count: int) -> list[_Key]:
        """The first `count` blocks of `prompt`, or as many as are kept, which are used with this."""
        path: list[_Key] = []
        while len(path) < count and (key := self._key(prompt, len(path), path)) in self._blocks:
            path.append(key)
        self._use(path)
        return path

    def _key(self, prompt: Many[int], place: int, path: Many[_Key]) -> _Key:
        """Of the block at `place`, whose predecessors are `path`."""
        before = self._blocks[path[-1]] if path else _NO_BLOCK
        return before, array("I", prompt[place * self.size : (place + 1) * self.size]).tobytes()

    def _use(self, path: Many[_Key]) -> None:
        for key in reversed(path):
            self._blocks.move_to_end(key)
