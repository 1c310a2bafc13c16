"""What a checkpoint's chat template may use: filters, tests, methods and functions, each bounded where one call could explode.

Any thread. Everything that templates of published checkpoints were seen to use is here; `sandbox` counts what it costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import utils
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.filters import do_indent
from jinja2.runtime import LoopContext
from jinja2.sandbox import safe_range

MAX_CHARACTERS = 1 << 18
"""Of any text that a template makes, the rendered conversation among them; containers count all that they hold."""
_MAX_FORMAT = 64
"""Characters of what `tojson`, `trim` and `strftime_now` are told."""
_MAX_DEPTH = 64
"""Of what `tojson` writes."""

FILTERS = frozenset(
    """abs capitalize count d default dictsort first float int items last length list lower map max min reject rejectattr
    reverse select selectattr sort string title unique upper""".split()  # noqa: SIM905
)
"""Of jinja2's own, as they are."""
QUICK_TESTS = frozenset(
    """boolean defined divisibleby even false float integer iterable mapping none number odd sameas sequence string true
    undefined""".split()  # noqa: SIM905
)
TESTS = QUICK_TESTS | frozenset(
    "!= < <= == > >= eq equalto ge greaterthan gt in le lessthan lower lt ne upper".split()  # noqa: SIM905
)
_STR = """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace istitle
    isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines
    startswith strip swapcase title upper"""
_LOOP = "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0"
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_STR.split()),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    LoopContext: frozenset(_LOOP.split()),
}
"""Attributes, by the type that has them."""
QUICK_FILTERS = frozenset({"count", "d", "default", "first", "last", "length"})
"""Those that do not read all of what they are given, as the quick tests."""
MOVING_FILTERS = frozenset(
    {"items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr"}
)
"""Those that read what they are given, but not what that holds; the tests and filters that they call are charged themselves."""
PRICES: Mapping[str, int] = {
    "indent": 4,
    "max": 2,
    "min": 2,
    "sort": 4,
    "string": 4,
    "title": 8,
    "tojson": 4,
    "unique": 4,
}
"""How many times as long as others some filters take."""
SLOW_METHODS = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"})
"""Of a text: those that may take as many steps as both texts have characters, multiplied."""


class OutOfBounds(Exception):
    """The template makes or does too much."""


class Namespace(utils.Namespace):
    """As transformers', without names that begin with an underscore; and it does not print what it holds."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _require_public(name)
        utils.Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_public(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _require_public(name: object) -> None:
    if not isinstance(name, str) or name.startswith("_"):
        raise SecurityError("such a name is not allowed")


class _Dict:
    """What a template knows as `dict`: never the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


# --- in the place of what could explode ------------------------------------------------------------------------------------


def bounded(characters: int) -> None:
    """Raises OutOfBounds for a text of so many."""
    if characters > MAX_CHARACTERS:
        raise OutOfBounds("too long a text")


def join(separator: str, values: Iterable[Any], /) -> str:
    """As str.join."""
    values = list(values)
    bounded(len(separator) * len(values))
    return separator.join(values)


def replace(text: str, old: str, new: str, count: int = -1, /) -> str:
    """As str.replace."""
    bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def _join(values: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        raise SecurityError("join by attribute is not allowed")
    return join(str(d), map(str, values))


def _trim(value: str, chars: str | None = None) -> str:
    if len(chars or "") > _MAX_FORMAT:
        raise OutOfBounds("too many characters to trim")
    return str(value).strip(chars)


def _indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    size = len(width) if isinstance(width, str) else width
    bounded(len(s) + (s.count("\n") + 2) * size)
    indented: str = do_indent(s, width, first, blank)
    return indented


def _tojson(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """transformers' own, which does not escape for HTML."""
    width = len(indent) if isinstance(indent, str) else indent or 0
    between = sum(map(len, separators or (", ", ": ")))
    if max(width, between) > _MAX_FORMAT:
        raise OutOfBounds("too wide an indent")
    _bound_json(x, width, between)
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _bound_json(value: Any, width: int, between: int) -> None:
    """Raises OutOfBounds for what is nested too deeply, or too long for all that JSON writes around its elements."""
    pending, characters = [(value, 1)], 0
    while pending:
        one, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise OutOfBounds("nested too deeply")
        characters += depth * width + between
        bounded(characters)
        if isinstance(one, dict):
            pending.extend((each, depth + 1) for each in one.values())
        elif isinstance(one, list | tuple):
            pending.extend((each, depth + 1) for each in one)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    if len(format) > _MAX_FORMAT:
        raise OutOfBounds("too long a format")
    return datetime.now().strftime(format)


FUNCTIONS: Mapping[str, Any] = {
    "dict": _Dict(),
    "namespace": Namespace,
    "raise_exception": _raise_exception,
    "range": safe_range,
    "strftime_now": _strftime_now,
}
"""In the place of jinja2's globals: what transformers adds, and `range` of at most 100,000 numbers."""
OWN_FILTERS: Mapping[str, Callable[..., Any]] = {
    "indent": _indent,
    "join": _join,
    "safe": str,
    "tojson": _tojson,
    "trim": _trim,
}
"""`safe` marks HTML that is not to be escaped; here nothing ever is."""
OWN_METHODS: Mapping[str, Callable[..., str]] = {"join": join, "replace": replace}
"""In the place of a text's."""
