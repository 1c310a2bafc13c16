"""A file declares what is served: it is brought about at start and at each change; what does not hold changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.front.serving.room import Room
from tests.unit.front.serving.test_rollout import asked
from tests.unit.front.waiting import until
from trine.artifact import Precision, Task
from trine.errors import InvalidInput, NotACheckpoint
from trine.export.plan import Gate
from trine.front.serving.administration import Administration
from trine.front.serving.declaration import read
from trine.front.serving.declared import Declared
from trine.front.serving.views import Progress, VersionView
from trine.registry.records import Lineage
from trine.registry.source import Folder, Hub, Source

MakeRoom = Callable[..., Room]


class FakeAdministration:
    """Registers what is asked for; the same source gives the same version."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.asked: list[tuple[str, Source, dict[str, Any]]] = []
        self.sources: dict[tuple[str, int], str] = {}

    async def register(self, name: str, source: Source, **options: Any) -> AsyncGenerator[Progress, None]:
        self.asked.append((name, source, options))
        yield Progress("read", 0.0, "reading")
        text = str(source)
        if "missing" in text:
            raise NotACheckpoint("there is no config.json")
        yield Progress("publish", 1.0, "done", self._version(name, text))

    async def import_artifact(self, name: str, path: str, *, hold: bool) -> tuple[VersionView, bool]:
        assert hold
        return self._version(name, path), False

    def _version(self, name: str, text: str) -> VersionView:
        mode = "refuses" if "refuses" in text else "slow" if "slow" in text else "ok"
        checkpoint = self.room.repository.checkpoint(name) if name in self.room.repository.names() else None
        for record in checkpoint.versions.values() if checkpoint else ():
            if self.sources.get((name, record.number)) == text:
                return VersionView(record)
        record = self.room.publish(name, mode, alias=None)
        self.sources[name, record.number] = text
        return VersionView(record)


class Rig:
    """A file, and the room that is brought to it."""

    def __init__(self, room: Room, path: Path) -> None:
        self.room = room
        self.path = path
        self.administration = FakeAdministration(room)

    def declared(self, text: str) -> Declared:
        self.path.write_text(text)
        room = self.room
        administration = cast(Administration, self.administration)
        return Declared(
            *(self.path, room.repository, room.pool, room.rollout, administration),
            *(room.settings, room.metrics),
        )

    @contextlib.asynccontextmanager
    async def followed(self, text: str) -> AsyncIterator[Declared]:
        """As a server does it from its start on."""
        declared = self.declared(text)
        await declared.reconcile()
        watching = asyncio.create_task(declared.watch())
        try:
            yield declared
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def numbers(self, name: str) -> list[int]:
        return list(self.room.repository.checkpoint(name).versions)

    def aliases(self, name: str) -> dict[str, int]:
        return dict(self.room.repository.checkpoint(name).aliases)

    def loaded(self) -> set[str]:
        return {record.reference for record in self.room.pool.records()}

    def valid(self) -> float | None:
        return self.room.metrics.registry.get_sample_value("trine_declaration_valid")


@pytest.fixture
def rig(make_room: MakeRoom, tmp_path: Path) -> Rig:
    return Rig(make_room(watch_interval=0.02, import_root="/models"), tmp_path / "trine.toml")


ONE = """
[checkpoints.a]
path = "a-1"
"""


async def test_what_is_declared_is_registered_loaded_and_live(rig: Rig) -> None:
    await rig.declared(ONE).reconcile()
    assert await asked(rig.room) == "a:1"
    (name, source, options), *_ = rig.administration.asked
    assert (name, source) == ("a", Folder("/models/a-1"))
    assert options == {
        "task": None,
        "precision": None,
        "gate": Gate.ENFORCE,
        "hold": True,
        "claims": Lineage(),
    }


async def test_every_option_of_a_registration_can_be_declared(rig: Rig) -> None:
    text = """
    [checkpoints.a]
    hub = "owner/name"
    revision = "v1"
    task = "classification"
    precision = "int8"
    gate = "report"
    base_checkpoint = "base"
    training_data = "data"
    license = "mit"
    """
    await rig.declared(text).reconcile()
    ((_, source, options),) = rig.administration.asked
    assert source == Hub("owner/name", "v1")
    assert (options["task"], options["precision"], options["gate"]) == (
        Task.CLASSIFICATION,
        Precision.INT8,
        Gate.REPORT,
    )
    assert options["claims"] == Lineage("base", training_data="data", license="mit")


async def test_what_is_there_already_costs_nothing_at_a_change(rig: Rig) -> None:
    async with rig.followed(ONE):
        process = rig.room.pool.process_id(rig.room.repository.checkpoint("a").versions[1])
        rig.path.write_text(ONE + '[checkpoints.b]\npath = "b"\n')
        await until(lambda: "b:1" in rig.loaded() and rig.room.status.serving.get("b", False))
    assert [name for name, *_ in rig.administration.asked] == ["a", "b"]
    assert rig.room.pool.process_id(rig.room.repository.checkpoint("a").versions[1]) == process


async def test_a_new_source_is_a_new_version_without_a_gap(rig: Rig) -> None:
    async with rig.followed(ONE):
        rig.path.write_text(ONE.replace("a-1", "slow"))
        versions: list[str] = []
        while not versions or versions[-1] != "a:2":
            versions.append(await asked(rig.room))
            await asyncio.sleep(0.01)
        assert "a:1" in versions
        await until(lambda: rig.loaded() == {"a:2"})


async def test_a_number_takes_live_back(rig: Rig) -> None:
    async with rig.followed(ONE):
        rig.path.write_text('[checkpoints.a]\npath = "a-2"')
        await until(lambda: rig.aliases("a") == {"live": 2})
        rig.path.write_text('[checkpoints.a]\npath = "a-2"\naliases = { live = 1, next = "declared" }')
        await until(lambda: rig.aliases("a") == {"live": 1, "next": 2})
        await until(lambda: rig.loaded() == {"a:1"})


async def test_a_version_that_fails_to_load_leaves_live_where_it_was(rig: Rig) -> None:
    async with rig.followed(ONE):
        rig.path.write_text(ONE.replace("a-1", "refuses"))
        await until(lambda: rig.numbers("a") == [1, 2])
        await until(lambda: bool(rig.room.pool.view(rig.room.repository.checkpoint("a").versions[2]).reason))
        assert await asked(rig.room) == "a:1"
        assert rig.aliases("a") == {"live": 1}


async def test_what_is_taken_out_is_unloaded_and_stays(rig: Rig) -> None:
    async with rig.followed(ONE + '[checkpoints.b]\npath = "b"\n'):
        assert rig.loaded() == {"a:1", "b:1"}
        rig.path.write_text('[checkpoints.b]\npath = "b"\n')
        await until(lambda: rig.loaded() == {"b:1"})
    assert rig.numbers("a") == [1]
    assert rig.aliases("a") == {"live": 1}


async def test_one_that_is_refused_does_not_hinder_the_others(rig: Rig) -> None:
    await rig.declared('[checkpoints.a]\npath = "missing"\n[checkpoints.b]\npath = "b"\n').reconcile()
    assert rig.loaded() == {"b:1"}


async def test_a_file_that_does_not_hold_changes_nothing(rig: Rig) -> None:
    async with rig.followed(ONE):
        assert rig.valid() == 1
        rig.path.write_text('[checkpoints.a]\npath = "a-2"\nlaod = true\n')
        await until(lambda: rig.valid() == 0)
        assert rig.loaded() == {"a:1"}
        assert rig.numbers("a") == [1]
        rig.path.write_text('[checkpoints.a]\npath = "a-2"\nload = true\n')
        await until(lambda: rig.loaded() == {"a:2"})
        assert rig.valid() == 1


async def test_a_file_that_is_away_for_a_moment_changes_nothing(rig: Rig) -> None:
    async with rig.followed(ONE):
        rig.path.unlink()
        await asyncio.sleep(0.1)
        assert rig.loaded() == {"a:1"}
        assert rig.valid() == 1


async def test_a_config_map_changes_by_the_exchange_of_a_symlink(rig: Rig, tmp_path: Path) -> None:
    """As the kubelet does it: FILE -> ..data/FILE, ..data -> ..1, and then ..data -> ..2 by a rename."""
    volume = tmp_path / "volume"
    rig.path = volume / "trine.toml"
    for number, source in (("1", "a-1"), ("2", "a-2")):
        (volume / f"..{number}").mkdir(parents=True)
        (volume / f"..{number}" / "trine.toml").write_text(ONE.replace("a-1", source))
    (volume / "..data").symlink_to("..1")
    rig.path.symlink_to("..data/trine.toml")
    async with rig.followed(rig.path.read_text()):
        assert rig.loaded() == {"a:1"}
        (volume / "..data_tmp").symlink_to("..2")
        (volume / "..data_tmp").rename(volume / "..data")
        await until(lambda: rig.loaded() == {"a:2"})


async def test_what_is_loaded_can_be_declared(rig: Rig) -> None:
    text = '[checkpoints.a]\npath = "a"\naliases = {{ other = "declared" }}\nload = {load}\n'
    async with rig.followed(text.format(load="false")):
        assert rig.loaded() == set()
        assert rig.aliases("a") == {"live": 1, "other": 1}
        rig.path.write_text(text.format(load='["other"]'))
        await until(lambda: rig.loaded() == {"a:1"})
        rig.path.write_text(text.format(load="false"))
        await until(lambda: rig.loaded() == set())


async def test_an_artifact_is_imported(rig: Rig) -> None:
    await rig.declared('[checkpoints.a]\nartifact = "exported/a"\n').reconcile()
    assert rig.administration.sources == {("a", 1): "/models/exported/a"}
    assert rig.loaded() == {"a:1"}


async def test_a_checkpoint_that_is_there_needs_no_source(rig: Rig) -> None:
    rig.room.publish("a")
    rig.room.publish("a")
    await rig.declared("[checkpoints.a]\naliases = { live = 1 }\n").reconcile()
    assert rig.loaded() == {"a:1"}
    assert not rig.administration.asked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sever]\n", "sever is an unknown key"),
        ("[server]\ngrcp_port = 1\n", "grcp_port is an unknown key"),
        ('[checkpoints.a]\npth = "x"\n', "checkpoints.a.pth is an unknown key"),
        ('[checkpoints.a]\npath = "x"\nhub = "y"\n', "more than one of path, hub and artifact"),
        ('[checkpoints.a]\ntask = "chat"\n', "checkpoints.a.task: is none of classification"),
        ('[checkpoints.a]\nprecision = "int4"\n', "checkpoints.a.precision: is none of fp32"),
        ('[checkpoints.a]\ngate = "off"\n', "checkpoints.a.gate: is none of enforce, report"),
        ("[checkpoints.a]\nload = 1\n", "checkpoints.a.load: is neither true"),
        ("[checkpoints.a]\naliases = { live = 0 }\n", "live is neither a version's number"),
        ('[checkpoints.a]\naliases = { live = "declared" }\n', "none of path, hub and artifact"),
        ("[checkpoints.a]\naliases = { LIVE = 1 }\n", "LIVE: a name has 1 to 63 lower-case letters"),
        ('[checkpoints."../a"]\n', "../a: a name has 1 to 63 lower-case letters"),
        ("[checkpoints]\na = 1\n", "checkpoints.a"),
        ("[checkpoints.a", "the file is no TOML"),
    ],
)
def test_what_does_not_hold_is_refused_with_the_key_at_fault(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text.encode())
    assert words in caught.value.message


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidInput):
        read(b"\xff")


def test_the_environment_goes_before_the_file_and_the_command_line_before_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declaration = read(b"[server]\nmax_requests = 1\nmax_inputs = 1\nengine_window = 1\n")
    monkeypatch.setenv("TRINE_MAX_INPUTS", "2")
    monkeypatch.setenv("trine_engine_window", "2")
    settings = declaration.settings({"engine_window": 3})
    assert (settings.max_requests, settings.max_inputs, settings.engine_window) == (1, 2, 3)
    with pytest.raises(ValueError, match="max_requests"):
        read(b"[server]\nmax_requests = 0\n").settings({})


def test_the_example_holds() -> None:
    content = (Path(__file__).parents[4] / "examples" / "trine.toml").read_bytes()
    assert set(read(content).checkpoints) == {"sentiment", "verse", "en-fr"}
    with_comments = re.sub(rb"^# (?=\[|\w+ = )", b"", content, flags=re.MULTILINE)
    assert set(read(with_comments).checkpoints) == {
        "sentiment",
        "verse",
        "en-fr",
        "minilm",
        "imported",
        "old",
    }
