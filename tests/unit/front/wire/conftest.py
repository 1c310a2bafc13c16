"""The fixture `rig`; a test with other settings parametrizes `options`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.front.wire.rig import Rig, running, settings
from trine.config import Settings


@pytest.fixture
def options() -> Settings:
    return settings()


@pytest.fixture
async def rig(options: Settings) -> AsyncIterator[Rig]:
    async with running(options) as made:
        yield made
