"""Aliases, filters, pages and reports, as an administrator asks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.unit.front.serving.replicas import Server
from tests.unit.front.serving.room import Room
from tests.unit.front.wire.fakes import record
from trine.artifact import Family, Task
from trine.errors import CheckpointNotFound, InvalidInput, NotPossible
from trine.front.serving.administration import Filter
from trine.registry.records import Lineage, Report, VersionState
from trine.registry.references import parse

MakeRoom = Callable[..., Room]


@pytest.fixture
async def server(make_room: MakeRoom, tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "administered", load="none")
    yield made
    await made.end()


def names(server: Server, wanted: Filter) -> list[str]:
    found, token = server.administration.list(0, "", wanted)
    assert token == ""
    return [version.record.reference for view in found for version in view.versions]


async def test_an_alias_moves_and_moves_back(server: Server) -> None:
    server.publish("a")
    server.publish("a", alias=None)
    moved = await server.administration.set_alias("a:2", "live")
    assert moved.aliases == {"live": 2}
    canary = await server.administration.set_alias("a@live", "canary")
    assert canary.aliases == {"live": 2, "canary": 2}
    assert (await server.administration.set_alias("a:1", "live")).aliases["live"] == 1
    assert (await server.administration.delete_alias("a@live")).aliases == {"canary": 2}
    with pytest.raises(CheckpointNotFound):
        server.repository.resolve(parse("a"))


@pytest.mark.parametrize(
    ("reference", "alias", "field"),
    [
        ("a", "x", "checkpoint"),
        ("a:1", "", "alias"),
        ("a:1", "Not A Name", "alias"),
        ("a:0", "x", "checkpoint"),
    ],
)
async def test_what_cannot_be_an_alias(server: Server, reference: str, alias: str, field: str) -> None:
    server.publish("a")
    with pytest.raises(InvalidInput) as caught:
        await server.administration.set_alias(reference, alias)
    assert caught.value.field == field


@pytest.mark.parametrize("reference", ["a", "a:1"])
async def test_only_an_alias_is_removed_as_one(server: Server, reference: str) -> None:
    server.publish("a")
    with pytest.raises(InvalidInput):
        await server.administration.delete_alias(reference)
    assert server.administration.get("a").aliases == {"live": 1}


async def test_an_alias_needs_a_version_that_is_ready(server: Server) -> None:
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        reservation.fail(msgspec.structs.replace(record(1, VersionState.FAILED), checkpoint="a"))
    with pytest.raises(NotPossible):
        await server.administration.set_alias("a:1", "live")
    with pytest.raises(CheckpointNotFound):
        await server.administration.set_alias("a:2", "live")
    assert server.administration.get("a").aliases == {}


def kinds(server: Server) -> None:
    for name, task, family, state, base in (
        ("bert", Task.CLASSIFICATION, Family.ENCODER, VersionState.READY, "org/bert"),
        ("bert", Task.EMBEDDING, Family.ENCODER, VersionState.FAILED, ""),
        ("gpt", Task.GENERATION, Family.DECODER, VersionState.READY, "org/gpt"),
        ("mt", Task.TRANSLATION, Family.ENCODER_DECODER, VersionState.READY, "org/mt"),
    ):
        with server.repository.reserve(name) as reservation:
            reservation.staging.mkdir()
            made = msgspec.structs.replace(
                record(reservation.number, state),
                checkpoint=name,
                task=task,
                family=family,
                lineage=Lineage(base),
            )
            if state is VersionState.READY:
                reservation.publish(made)
            else:
                reservation.fail(made)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), ["bert:1", "bert:2", "gpt:1", "mt:1"]),
        (Filter(task=Task.EMBEDDING), ["bert:2"]),
        (Filter(family=Family.ENCODER), ["bert:1", "bert:2"]),
        (Filter(family=Family.ENCODER, state=VersionState.READY), ["bert:1"]),
        (Filter(base_checkpoint="org/mt"), ["mt:1"]),
        (Filter(task=Task.SUMMARIZATION), []),
    ],
)
async def test_the_list_is_of_versions_of_a_kind(server: Server, wanted: Filter, found: list[str]) -> None:
    kinds(server)
    assert names(server, wanted) == found


async def test_pages_count_what_is_left_of_the_filter(server: Server) -> None:
    kinds(server)
    wanted = Filter(state=VersionState.READY)
    pages, token = [], ""
    while True:
        page, token = server.administration.list(1, token, wanted)
        pages.append([view.name for view in page])
        if not token:
            break
    assert pages == [["bert"], ["gpt"], ["mt"]]
    with pytest.raises(InvalidInput):
        server.administration.list(1001, "", wanted)


async def test_a_report_is_read_for_what_it_has(server: Server) -> None:
    report = (
        '{"reason": "off by 3", "texts": 64, "recipe": "3", "packages": {"torch": "2.13"},'
        ' "stage_seconds": {"export": 1.5}, "limits": {"descriptors": 256}}'
    )
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "report.json").write_text(report)
        reservation.publish(msgspec.structs.replace(record(1), checkpoint="a"))
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "report.json").write_text('{"reason": "off by 4"}')
        reservation.fail(msgspec.structs.replace(record(2, VersionState.FAILED), checkpoint="a"))
    full = (await server.administration.report("a:1")).report
    assert full == Report("off by 3", "3", {"torch": "2.13"}, {"export": 1.5}, "", {"descriptors": 256})
    failed = (await server.administration.report("a:2")).report
    assert failed == Report("off by 4")


async def test_the_report_of_an_older_exporter_has_other_limits(server: Server) -> None:
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        old = '{"passed": true, "reason": "proved", "limits": {"labels": 1.0, "logits": 0.0001}}'
        (reservation.staging / "report.json").write_text(old)
        reservation.publish(msgspec.structs.replace(record(1), checkpoint="a"))
    assert (await server.administration.report("a:1")).report == Report("proved")


@pytest.mark.parametrize(
    "content", [None, "{not json", '{"recipe": "1", "limits": {"x": -1}}', '{"recipe": "1", "packages": [1]}']
)
async def test_a_report_that_is_none(server: Server, content: str | None) -> None:
    with server.repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        if content is not None:
            (reservation.staging / "report.json").write_text(content)
        reservation.publish(msgspec.structs.replace(record(1), checkpoint="a"))
    view = await server.administration.report("a:1")
    assert (view.report, view.version.number) == (None, 1)


async def test_architectures_are_in_order_of_their_names(server: Server) -> None:
    found = [row.name for row in server.administration.architectures()]
    assert found == sorted(found)
    assert {"BertModel", "GPT2LMHeadModel", "MarianMTModel"} <= set(found)
