"""What a chat template's rendering may spend, and what it costs to make, read and search values. Any thread.

No clock is asked: the same messages always cost the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from trine.engine.text import allowed
from trine.engine.text.allowed import MAX_CHARACTERS, OutOfBounds

MAX_ELEMENTS = 1 << 14
"""Of any container that a template makes, those inside of it among them."""
BUDGET = 10_000_000
"""Of one rendering, in units of at most 0.04 microseconds: some 300,000 operations, or 20 million characters read or made."""
OPERATION, NODE = 16, 4
_ELEMENT = 4
_CHARACTERS = 2
"""That cost as much as one unit."""
_STEPS = 64
"""Of a search that cost as much as one unit."""
_PLANNED = 100
"""Characters of what is looked for from which on CPython plans its search, so that it takes linear time, but for the last ..."""
_UNPLANNED = 2500
"""... characters of the text, or all of a shorter one."""
_MAX_BITS = 64
_CONTAINERS: tuple[Any, ...] = (
    list,
    tuple,
    set,
    frozenset,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
_SIZED: tuple[Any, ...] = (str, dict, range, *_CONTAINERS)


class Meter(ImmutableSandboxedEnvironment):
    """jinja2's own sandbox with a budget, which `start` gives to the next rendering."""

    def __init__(self, **options: Any) -> None:
        self._left = BUDGET
        super().__init__(**options)

    def start(self) -> None:
        self._left = BUDGET

    @property
    def spent(self) -> int:
        """Units of the newest rendering."""
        return BUDGET - max(self._left, 0)

    def spend(self, units: int) -> None:
        """Raises OutOfBounds, and then does so for ever, should a template catch it."""
        self._left -= units
        if self._left < 0:
            raise OutOfBounds("too much work")

    def glance(self, value: Any) -> Any:
        """`value` itself, charged for what it holds but not for what that holds. Raises OutOfBounds.

        For what moves references only: of a container whose size is known it makes none that is larger.
        """
        size = len(value) if isinstance(value, _SIZED) else 0
        if isinstance(value, str):
            self.spend(OPERATION + size // _CHARACTERS)
        elif size > MAX_ELEMENTS:
            raise OutOfBounds("too large a value")
        else:
            self.spend(OPERATION + _ELEMENT * size)
        return value

    def charge(self, value: Any, times: int = 1) -> Any:
        """`value` itself, charged for all of it. Raises OutOfBounds where it is too large, or the budget is spent."""
        pending, characters, elements = [value], 0, 0
        while pending:
            one = pending.pop()
            elements += 1
            if isinstance(one, str):
                characters += len(one)
            elif isinstance(one, int):
                if one.bit_length() > _MAX_BITS:
                    raise OutOfBounds("too large a number")
            elif isinstance(one, dict):
                pending += [*one.keys(), *one.values()]
            elif isinstance(one, _CONTAINERS):
                pending.extend(one)
            elif isinstance(one, range):
                elements += len(one)
            if characters > MAX_CHARACTERS or (pending and elements + len(pending) > MAX_ELEMENTS):
                raise OutOfBounds("too large a value")
        self.spend(times * (OPERATION + _ELEMENT * elements + characters // _CHARACTERS))
        return value

    def concat(self, pieces: Iterable[str]) -> str:
        """Of everything that a template, a macro or a block writes; jinja2's own is `"".join`."""
        kept, size = [], 0
        for piece in pieces:
            kept.append(piece)
            size += len(piece)
            if size > MAX_CHARACTERS:
                raise OutOfBounds("too long a text")
        self.spend(OPERATION + size // _CHARACTERS)
        return "".join(kept)

    def contains(self, item: Any, values: Any) -> bool:
        """`item in values`, charged for its search but not for what they hold."""
        if isinstance(values, str):
            self.search(values, "in", [item])
        return item in values

    def search(self, text: str, method: str, arguments: Iterable[Any]) -> None:
        """CPython looks for each letter, or from the right for each beginning, without a plan."""
        self.spend(len(text) // _CHARACTERS)
        for each in arguments:
            if isinstance(each, str):
                places = len(text) if method in allowed.SLOW_METHODS else max(len(text) - len(each) + 1, 0)
                if method not in allowed.SLOW_METHODS and len(each) >= _PLANNED:
                    places = min(places, _UNPLANNED)
                self.spend(places * len(each) // _STEPS)
