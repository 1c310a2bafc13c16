"""Which row of the cache each beam of one sequence goes on in: pure arithmetic. Engine process, its only thread."""

from __future__ import annotations

from collections.abc import Sequence


def lay_out(rows: Sequence[int], parents: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """The rows in the order of the new beams, those that are free after them; and what is to be copied, as (source, target) pairs.

    Beam i had the i-th row, and `parents` has the index of the old beam that each new one continues. The first child of a beam stays
    in its row, so that as little as possible is copied; the others get rows of beams that end. Hence no row is both copied from and to.
    """
    kept = {rows[parent] for parent in parents}
    free = [row for row in rows if row not in kept]
    laid: list[int] = []
    copies = []
    for parent in parents:
        row = rows[parent]
        if row in kept:
            kept.remove(row)
        else:
            copies.append((row, free[0]))
            row = free.pop(0)
        laid.append(row)
    return [*laid, *free], copies
