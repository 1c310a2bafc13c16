"""What all messages between the front and an engine are. Both processes."""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages; `array_like` keeps them small, `gc=False` is safe because they hold no cycles."""
