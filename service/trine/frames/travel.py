"""Messages to bytes and back. Both processes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from trine.frames.base import Frame

MAX_FRAME = 64 << 20
_HEAD = struct.Struct("<I")

_encode = msgspec.msgpack.Encoder().encode


def pack(messages: Sequence[Frame]) -> bytes:
    """One frame of all `messages`; several where they are too much for one, as after a pause of the reader."""
    body = _encode(messages)
    if len(body) > MAX_FRAME and len(messages) > 1:
        half = len(messages) // 2
        return pack(messages[:half]) + pack(messages[half:])
    return _HEAD.pack(len(body)) + body


class Unpacker:
    """Bytes in any portions to messages of one direction's union (`ToEngine` or `ToFront`)."""

    def __init__(self, union: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(list[union]).decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes. Raises ValueError or msgspec.MsgspecError when the peer talks nonsense."""
        self._buffer += data
        at, messages = 0, []
        with memoryview(self._buffer) as view:
            while len(view) - at >= _HEAD.size:
                (size,) = _HEAD.unpack_from(view, at)
                if size > MAX_FRAME:
                    raise ValueError(f"a frame of {size} bytes")
                begin = at + _HEAD.size
                if len(view) - begin < size:
                    break
                messages += self._decode(view[begin : begin + size])
                at = begin + size
        del self._buffer[:at]
        return messages
