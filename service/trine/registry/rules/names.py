"""How words of a stranger's file are repeated in a message of ours: not at all, unless they are plain. Any process."""

from __future__ import annotations

import re

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def shown_file(name: str) -> str:
    """The name of a file, where it can stand in a message."""
    return name if _FILE.fullmatch(name) else "a file"


def shown_word(word: object, otherwise: str) -> str:
    """A key, or the name of a tensor or operator; `otherwise` stands for one that is odd."""
    return word if isinstance(word, str) and _WORD.fullmatch(word) else otherwise
