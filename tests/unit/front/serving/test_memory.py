"""The memory budget, and versions that are loaded at their first request. Engines are real processes; their sizes are told here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.unit.front.serving.room import Room, engine_of, is_gone
from tests.unit.front.serving.test_inference import classify
from tests.unit.front.waiting import until
from trine.errors import ArtifactCorrupt, DeadlineExceeded, NotLive, NotPossible, Overloaded, TrineError
from trine.front.serving import handle, memory
from trine.front.serving.handle import EngineHandle, resident_bytes
from trine.front.serving.views import EngineState
from trine.registry.records import Record

MakeRoom = Callable[..., Room]

MB = 1 << 20


class Sizes:
    """What each engine is expected to take, and what it is measured to take, in MB."""

    def __init__(self) -> None:
        self.expected = 10
        self.measured = 10
        self.of_process: dict[int, int] = {}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Sizes:
    sizes = Sizes()
    monkeypatch.setattr(memory, "estimate", lambda _: sizes.expected * MB)
    monkeypatch.setattr(handle, "resident_bytes", lambda pid: sizes.of_process.get(pid, sizes.measured) * MB)
    return sizes


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which versions were started, in order."""
    started: list[str] = []
    start = EngineHandle.start

    async def counted(self: EngineHandle) -> None:
        started.append(self.record.reference)
        await start(self)

    monkeypatch.setattr(EngineHandle, "start", counted)
    return started


def states(room: Room, *records: Record) -> list[str]:
    return [str(room.pool.view(record).state) for record in records]


@contextlib.contextmanager
def leased(room: Room, record: Record) -> Iterator[None]:
    engine = room.pool.lease(record)
    try:
        yield
    finally:
        engine.let_go()


@pytest.mark.usefixtures("sizes")
async def test_the_one_used_least_recently_makes_room(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    first, second = await room.loaded("a"), await room.loaded("b")
    process = engine_of(room, second)
    await classify(room, "x", name="a")
    third = await room.loaded("c")
    assert states(room, first, second, third) == ["live", "unloaded", "live"]
    assert is_gone(process)


@pytest.mark.usefixtures("sizes")
async def test_what_was_unloaded_to_make_room_comes_back_when_it_is_asked_for(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    records = [await room.loaded(name) for name in "abc"]
    assert states(room, *records) == ["unloaded", "live", "live"]
    assert room.status.serving == {"a": True, "b": True, "c": True}
    assert await classify(room, "x", name="a") == ["x"]
    assert states(room, *records) == ["live", "unloaded", "live"]


@pytest.mark.usefixtures("sizes")
async def test_what_an_administrator_unloads_does_not_come_back(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    records = [await room.loaded(name) for name in "abc"]
    await room.pool.unload(records[0])  # which was unloaded already, to make room
    with pytest.raises(NotLive):
        await classify(room, "x", name="a")
    assert not room.status.serving["a"]


@pytest.mark.usefixtures("sizes")
async def test_a_leased_engine_is_never_unloaded(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    first, second = await room.loaded("a"), await room.loaded("b")
    third = room.publish("c")
    with leased(room, first), leased(room, second):
        with pytest.raises(Overloaded) as caught:
            await room.pool.load(third)
        assert states(room, first, second, third) == ["live", "live", "unloaded"]
    assert "21 MB of the 26 MB" in caught.value.message
    with leased(room, first):
        await room.pool.load(third)
        assert states(room, first, second, third) == ["live", "unloaded", "live"]


async def test_what_can_never_fit_ends_nothing(make_room: MakeRoom, sizes: Sizes) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    first = await room.loaded("a")
    sizes.expected = 30
    second = room.publish("b")
    with leased(room, first), pytest.raises(NotPossible):
        await room.pool.load(second)
    with pytest.raises(NotPossible):
        await room.pool.load(second)
    assert states(room, first, second) == ["live", "unloaded"]


async def test_an_engine_that_turns_out_too_large_is_ended_and_remembered(
    make_room: MakeRoom, sizes: Sizes, launches: list[str]
) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    first = await room.loaded("a")
    sizes.measured = 30
    sizes.of_process[engine_of(room, first)] = 10
    second = room.publish("b")
    with pytest.raises(NotPossible):
        await room.pool.load(second)
    assert states(room, second) == ["unloaded"]
    assert "no room" in room.pool.view(second).reason
    with pytest.raises(NotPossible):
        await room.pool.load(second)
    assert launches.count("b:1") == 1, "its size is known now"


async def test_engines_that_grow_are_kept_within_the_budget(
    make_room: MakeRoom, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LOOK_EVERY", 0.02)
    room = make_room(memory_budget_bytes=25 * MB)
    first, second = await room.loaded("a"), await room.loaded("b")
    await classify(room, "x", name="a")
    sizes.measured = 40
    await until(lambda: states(room, first, second) == ["live", "unloaded"])
    await until(lambda: room.pool.view(first).resident_bytes == 40 * MB)
    assert room.pool.is_live(first), "the last one stays"


@pytest.mark.usefixtures("sizes")
async def test_two_loads_at_once_are_not_let_in_on_the_same_bytes(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    records = [room.publish(name, "slow") for name in "abcd"]
    loads = await asyncio.gather(*(room.pool.load(record) for record in records), return_exceptions=True)
    assert [type(one) for one in loads] == [type(None), type(None), Overloaded, Overloaded]


@pytest.mark.usefixtures("sizes")
async def test_a_swap_that_has_no_room_beside_the_old_version_leaves_it_live(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=15 * MB)
    first = await room.loaded("a")
    second = room.publish("a", alias=None)
    with pytest.raises(NotPossible):
        await room.rollout.move("a", "live", second)
    assert states(room, first, second) == ["live", "unloaded"]
    assert room.repository.checkpoint("a").aliases == {"live": 1}


@pytest.mark.usefixtures("sizes")
async def test_a_version_that_is_being_unloaded_does_not_count_against_itself(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=15 * MB)
    record = await room.loaded("a")
    with leased(room, record):
        unloading = asyncio.create_task(room.pool.unload(record))
        await until(lambda: states(room, record) == ["unloading"])
        loading = asyncio.create_task(room.pool.load(record))
        await asyncio.sleep(0)
    await asyncio.gather(unloading, loading)
    assert states(room, record) == ["live"]


# --- loaded at the first request -------------------------------------------------------------------------------------------


async def test_first_requests_share_one_load(make_room: MakeRoom, launches: list[str]) -> None:
    room = make_room(load="lazy", engine_window=32)
    room.publish("a", "slow")
    answers = await asyncio.gather(*(classify(room, str(number)) for number in range(20)))
    assert answers == [[str(number)] for number in range(20)]
    assert launches == ["a:1"]


async def test_deadlines_hold_while_a_version_is_loaded(make_room: MakeRoom, launches: list[str]) -> None:
    """And the load goes on for those who can wait longer, also when the first one has left."""
    room = make_room(load="lazy")
    room.publish("a", "slow")
    short = asyncio.create_task(classify(room, "x", timeout=0.1))
    leaving = asyncio.create_task(classify(room, "y"))
    long = asyncio.create_task(classify(room, "z"))
    await until(lambda: launches == ["a:1"])
    leaving.cancel()
    with pytest.raises(DeadlineExceeded):
        await short
    assert await long == ["z"]
    assert launches == ["a:1"]
    assert room.admission.requests == 0


async def test_a_load_that_fails_is_not_tried_again_by_each_request(
    make_room: MakeRoom, launches: list[str]
) -> None:
    room = make_room(load="lazy")
    record = room.publish("a", "refuses")
    room.pool.changed()
    assert room.status.serving["a"], "nothing is known against it"
    told = await asyncio.gather(*(classify(room, "x") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(one, TrineError) for one in told)
    with pytest.raises(NotLive, match="not as it was"):
        await classify(room, "x")
    assert launches == ["a:1"]
    assert not room.status.serving["a"]
    assert room.pool.view(record).reason


async def test_a_manifest_that_was_changed_is_no_load_and_no_storm_of_them(
    make_room: MakeRoom, launches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(load="lazy")
    record = room.publish("a")
    checks: list[Record] = []

    def check(record: Record) -> None:
        checks.append(record)
        raise ArtifactCorrupt("the manifest of a:1 is not as it was published")

    monkeypatch.setattr(room.repository, "check_manifest", check)
    with pytest.raises(ArtifactCorrupt):
        await classify(room, "x")
    with pytest.raises(NotLive, match="not as it was published"):
        await classify(room, "x")
    assert (len(checks), launches) == (1, [])
    assert "manifest" in room.pool.view(record).reason
    assert not room.status.serving["a"]


async def test_only_a_lazy_server_loads_what_is_asked_for(make_room: MakeRoom) -> None:
    for load in ("live", "none"):
        room = make_room(load=load)
        room.publish("a")
        for reference in ("a", "a:1"):
            with pytest.raises(NotLive):
                await classify(room, "x", name=reference)
    room = make_room(load="lazy")
    room.publish("a")
    room.publish("a", alias=None)
    assert await classify(room, "x", name="a:2") == ["x"]
    assert room.pool.view(room.repository.checkpoint("a").versions[1]).state is EngineState.UNLOADED


@pytest.mark.usefixtures("sizes")
async def test_requests_of_more_checkpoints_than_fit_are_all_answered(make_room: MakeRoom) -> None:
    room = make_room(load="lazy", memory_budget_bytes=25 * MB)
    for name in "abcd":
        room.publish(name)

    async def persistent(name: str) -> list[str]:
        while True:
            with contextlib.suppress(Overloaded):
                return await classify(room, "x", name=name, timeout=60)
            await asyncio.sleep(0.01)

    for _ in range(2):
        answers = await asyncio.gather(*(persistent(name) for name in "abcd"))
        assert answers == [["x"]] * 4
    assert sum(room.pool.is_live(room.repository.checkpoint(name).versions[1]) for name in "abcd") <= 2


# --- what is kept ----------------------------------------------------------------------------------------------------------


async def test_the_memory_of_an_engine_is_measured(make_room: MakeRoom) -> None:
    room = make_room()
    record = await room.loaded("a")
    measured = room.pool.view(record).resident_bytes
    assert abs(measured - resident_bytes(engine_of(room, record))) < 4 * MB
    series = {"checkpoint": "a", "version": "1"}
    assert room.metrics.registry.get_sample_value("trine_engine_resident_bytes", series) == measured
    await room.pool.unload(record)
    assert room.pool.view(record).resident_bytes == 0
    assert "trine_engine_resident_bytes{" not in room.page()


@pytest.mark.usefixtures("sizes")
async def test_nothing_is_kept_of_a_version_that_is_forgotten(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB, load="lazy")
    records = [await room.loaded(name) for name in "abc"]
    bad = room.publish("d", "refuses")
    with pytest.raises(TrineError):
        await classify(room, "x", name="d")
    for record in [*records, bad]:
        await room.pool.unload(record)
        room.repository.delete_checkpoint(record.checkpoint)
        room.pool.forget(record)
    for owner in (room.pool, room.pool.routes, room.rollout):
        for name, kept in vars(owner).items():
            if (isinstance(kept, dict | set) and name != "_tasks") or name == "_locks":
                assert not list(kept), name
    assert 'checkpoint="' not in room.page()


@pytest.mark.usefixtures("sizes")
async def test_loads_that_wait_while_the_version_is_evicted_keep_nobody_waiting(make_room: MakeRoom) -> None:
    room = make_room(memory_budget_bytes=25 * MB)
    first, second = await room.loaded("a"), await room.loaded("b")
    third = room.publish("c")
    async with asyncio.timeout(30):
        async with room.pool._lock(first):
            loading = [asyncio.create_task(room.pool.load(first)) for _ in range(2)]
            making_room = asyncio.create_task(room.pool.load(third))
            await until(lambda: states(room, first) == ["unloading"])
        await asyncio.gather(making_room, *loading)
    assert sorted(states(room, first, second, third)) == ["live", "live", "unloaded"]
