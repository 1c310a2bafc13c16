"""Levels the difference between the two clients, so that one test serves both."""

from __future__ import annotations

import inspect
from typing import Any

from trine.client import AsyncStream

Either = Any
"""A Client or an AsyncClient."""


async def answer(value: Any) -> Any:
    """What a method of either client returns."""
    return await value if inspect.isawaitable(value) else value


async def parts(stream: Any) -> list[Any]:
    """All parts of a stream of either client."""
    if isinstance(stream, AsyncStream):
        return [part async for part in stream]
    return list(stream)
