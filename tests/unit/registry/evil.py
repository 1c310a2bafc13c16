"""What the evil sets share: a good folder made evil by one change, and what the refusal has to say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trine.errors import TrineError

SPEAKING = re.compile(r"/tmp|/proc|/home|/etc|0x[0-9a-f]{6}|Traceback|Error|\n|<b>")
"""What no reason may tell."""


@dataclass(frozen=True)
class Evil:
    name: str
    spoil: Callable[[Path], None]
    file: str
    """What the reason has to name, ..."""
    rule: str
    """... and the words by which it tells the rule."""


def named(evil: Evil) -> str:
    return evil.name.replace(" ", "-")


def require(evil: Evil, refusal: TrineError) -> None:
    assert evil.file in refusal.message, refusal.message
    assert evil.rule in refusal.message, refusal.message
    assert not SPEAKING.search(refusal.message), refusal.message
    assert len(refusal.message) < 400, refusal.message
