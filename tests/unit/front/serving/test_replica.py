"""Servers that share a repository: each sees and follows what the other does, and neither takes from the other what it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.unit.front.serving.replicas import Server
from tests.unit.front.serving.room import Room, engine_of, is_gone
from tests.unit.front.waiting import until
from tests.unit.front.wire import fakes
from trine.errors import ArtifactCorrupt, CheckpointNotFound, NotPossible
from trine.front.serving.views import EngineState
from trine.registry.references import parse

MakeRoom = Callable[..., Room]


@pytest.fixture
async def make_server(make_room: MakeRoom, tmp_path: Path) -> AsyncIterator[Callable[..., Server]]:
    """Servers on one repository; `make_room` is wanted for its stand-in engines."""
    servers: list[Server] = []

    def make(**settings: object) -> Server:
        server = Server(tmp_path / "shared", **settings)
        server.replica.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.end()


async def test_publish_alias_and_deletion_reach_the_other(make_server: Callable[..., Server]) -> None:
    one, other = make_server(load="none"), make_server(load="none")
    told: list[tuple[str, bool | None]] = []
    other.status.subscribe(lambda name, serving: told.append((name, serving)))
    one.publish("a")
    await until(lambda: "a" in other.repository.names())
    await until(lambda: other.repository.checkpoint("a").aliases == {"live": 1})
    await until(lambda: ("a", False) in told)
    await one.administration.delete("a")
    await until(lambda: "a" not in other.repository.names())
    await until(lambda: ("a", None) in told)


async def test_what_goes_live_elsewhere_goes_live_here(make_server: Callable[..., Server]) -> None:
    one, other = make_server(), make_server()
    first = one.publish("a")
    await until(lambda: other.pool.is_live(first))
    second = one.publish("a")
    await until(lambda: other.pool.is_live(second))
    await until(lambda: not other.pool.is_loaded(first))
    assert other.pool.routes.resolve(parse("a")) == second
    await one.administration.set_alias("a:1", "live")
    await until(lambda: other.pool.is_live(first) and not other.pool.is_loaded(second))
    assert other.pool.routes.resolve(parse("a")) == first


async def test_while_the_new_version_loads_the_old_one_answers(make_server: Callable[..., Server]) -> None:
    one, other = make_server(), make_server()
    first = one.publish("a")
    await until(lambda: other.pool.is_live(first))
    second = one.publish("a", "refuses")
    await until(lambda: other.repository.resolve(parse("a")) == second)
    assert other.pool.routes.resolve(parse("a")) == first
    await until(lambda: bool(other.pool.view(second).reason))
    assert other.pool.is_live(first), "what cannot be loaded replaces nothing"


async def test_what_is_loaded_anywhere_is_not_deleted(make_server: Callable[..., Server]) -> None:
    one, other = make_server(load="none"), make_server(load="none")
    record = one.publish("a", alias=None)
    await until(lambda: "a" in other.repository.names())
    await other.pool.load(record)
    engine = engine_of(other, record)
    for reference in ("a:1", "a"):
        with pytest.raises(NotPossible, match="a:1 is loaded by a server"):
            await one.administration.delete(reference)
    assert not is_gone(engine)
    await other.pool.unload(record)
    await one.administration.delete("a:1")
    with pytest.raises(CheckpointNotFound):
        one.administration.get("a")


async def test_a_version_beyond_the_limit_goes_when_its_engine_has_ended(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(max_versions=1)
    first = server.publish("a")
    await server.pool.load(first)
    second = server.publish("a", alias=None)
    await server.rollout.move("a", "live", second, load=True)
    await until(lambda: list(server.repository.checkpoint("a").versions) == [2])
    assert server.pool.is_live(second)


async def test_a_version_whose_manifest_has_changed_is_not_loaded(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server(load="none")
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "manifest.json").write_text("{}")
        record = reservation.publish(msgspec.structs.replace(fakes.record(1), checkpoint="a"))
    (tmp_path / "shared" / "a" / "1" / "artifact" / "manifest.json").write_text("{ }")
    with pytest.raises(ArtifactCorrupt):
        await server.pool.load(record)
    assert server.pool.records() == []


async def test_a_loaded_version_whose_folder_was_taken_away_is_unloaded(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server()
    record = server.publish("a")
    await server.pool.load(record)
    engine = engine_of(server, record)
    (tmp_path / "shared" / "a").rename(tmp_path / "taken")
    await until(lambda: is_gone(engine))
    assert server.pool.view(record).state is EngineState.UNLOADED
    assert server.repository.names() == []


async def test_names_that_change_together_are_told_together(
    make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository of ten thousand names may be copied in at once, and each telling looks at all of them."""
    server = make_server(load="none")
    tellings = 0

    def count() -> None:
        nonlocal tellings
        tellings += 1

    monkeypatch.setattr(server.status, "update", count)
    for number in range(40):
        server.publish(f"a{number}")
    await until(lambda: len(server.replica._known) == 40)
    assert tellings < 20
