"""Registrations from a hub: what is told, what is recorded, and how a caller's leaving ends them; the export is played."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.serving.test_publisher import SlowExport, publisher_of
from tests.unit.registry.fake_hub import COMMIT, FakeHub
from trine.errors import CheckpointNotFound, Draining, NotPossible, RepositoryFull
from trine.front.serving.views import Progress
from trine.registry.records import Lineage, Record
from trine.registry.source import Hub

MakeRoom = Callable[..., Room]

CARD = b"---\nlicense: mit\ndatasets: [imdb]\n---\n"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    config = json.dumps({"_name_or_path": "org/base"}).encode()
    fake = FakeHub({"config.json": config, "README.md": CARD, "model.safetensors": bytes(3 << 20)})
    yield fake
    fake.stop()


async def register(room: Room, source: Hub, claims: Lineage | None = None) -> tuple[list[Progress], Record]:
    told: list[Progress] = []
    record = None
    steps = publisher_of(room).register(
        "a", source, task=None, precision=None, hold=True, claims=claims or Lineage()
    )
    async with contextlib.aclosing(steps):
        async for step in steps:
            if isinstance(step, Progress):
                told.append(step)
            else:
                record, _ = step
    assert record is not None
    return told, record


async def test_the_commit_and_what_the_card_says_are_recorded(
    make_room: MakeRoom, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(hub_endpoint=hub.endpoint)
    SlowExport(monkeypatch).go.set()
    told, record = await register(room, Hub("org/name", "main"), Lineage(license="of the caller"))
    assert record.lineage == Lineage(
        base_checkpoint="org/base",
        training_data="imdb",
        license="of the caller",
        source="org/name",
        source_revision=COMMIT,
    )
    read = [step.fraction for step in told if step.stage == "read"]
    assert read == sorted(read)
    assert (read[0], read[-1]) == (0.0, 1.0)
    assert (room.repository.root / ".hub" / "org--name" / COMMIT / "model.safetensors").is_file()
    assert room.repository.names() == ["a"]


async def test_a_caller_who_leaves_ends_the_fetch(make_room: MakeRoom, hub: FakeHub) -> None:
    room = make_room(hub_endpoint=hub.endpoint)
    steps = publisher_of(room).register(
        "a", Hub("org/name", "main"), task=None, precision=None, hold=True, claims=Lineage()
    )
    assert isinstance(await anext(steps), Progress)
    await steps.aclose()
    assert hub.requests == []
    assert room.repository.names() == []


async def test_a_server_that_stops_fetches_nothing(make_room: MakeRoom, hub: FakeHub) -> None:
    room = make_room(hub_endpoint=hub.endpoint)
    publisher = publisher_of(room)
    publisher.cancel()
    with pytest.raises(Draining):
        async for _ in publisher.register(
            "a", Hub("org/name", "main"), task=None, precision=None, hold=True, claims=Lineage()
        ):
            pass


async def test_a_full_repository_fetches_nothing(make_room: MakeRoom, hub: FakeHub) -> None:
    room = make_room(hub_endpoint=hub.endpoint, max_repository_bytes=1 << 20)
    with pytest.raises(RepositoryFull):
        await register(room, Hub("org/name", "main"))
    assert hub.fetched() == []


async def test_the_cache_may_lie_elsewhere(
    make_room: MakeRoom, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(hub_endpoint=hub.endpoint, hub_cache=tmp_path / "cache")
    SlowExport(monkeypatch).go.set()
    await register(room, Hub("org/name", COMMIT))
    assert (tmp_path / "cache" / "org--name" / COMMIT / "config.json").is_file()
    assert not (room.repository.root / ".hub").exists()


async def test_what_the_hub_does_not_have_is_told(make_room: MakeRoom, hub: FakeHub) -> None:
    with pytest.raises(CheckpointNotFound) as caught:
        await register(make_room(hub_endpoint=hub.endpoint), Hub("org/none", "main"))
    assert caught.value.field == "hub.repo_id"
    with pytest.raises(NotPossible, match="no hub is configured"):
        await register(make_room(), Hub("org/name", "main"))
