"""The names by which callers speak of checkpoints: NAME, NAME@ALIAS, NAME:VERSION. Front process."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trine.errors import InvalidInput

LIVE = "live"
"""The alias that a bare name means."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Reference:
    """One of the three forms; both `alias` and `number` are None for a bare name."""

    name: str
    alias: str | None = None
    number: int | None = None


def parse(text: str, field: str = "checkpoint") -> Reference:
    """Raises InvalidInput that names `field`."""
    name, separator, rest = text.partition("@")
    if separator:
        return Reference(check_name(name, field), alias=check_name(rest, field))
    name, separator, rest = text.partition(":")
    if separator:
        if not _NUMBER.fullmatch(rest):
            raise InvalidInput("a version is a number from 1, as in name:1", field=field)
        return Reference(check_name(name, field), number=int(rest))
    return Reference(check_name(name, field))


def check_name(name: str, field: str = "name") -> str:
    """The name itself, when it is one. The expression keeps every separator of paths and URLs out."""
    if not is_name(name):
        raise InvalidInput(
            "a name has 1 to 63 lower-case letters, digits, dots, hyphens and underscores, "
            "begins and ends with a letter or digit, and has no two dots in a row",
            field=field,
        )
    return name


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and ".." not in text
