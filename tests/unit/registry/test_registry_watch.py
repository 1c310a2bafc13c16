"""What other servers change is seen: by events, by looking alone, and without being taken in by half of a change."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.unit.registry.test_repository import publish, record
from trine.errors import CheckpointNotFound
from trine.registry import layout, watch
from trine.registry.records import VersionState
from trine.registry.references import parse
from trine.registry.repository import Repository
from trine.registry.watch import Watch

OTHER_SERVER = """
import sys
from pathlib import Path
from tests.unit.registry.test_repository import publish
from trine.registry.repository import Repository
repository = Repository(Path(sys.argv[1]))
for line in sys.stdin:
    word, *rest = line.split()
    if word == "publish":
        publish(repository, *rest)
    elif word == "alias":
        repository.set_alias(rest[0], rest[1], int(rest[2]))
    else:
        repository.delete_checkpoint(*rest)
    print(word, flush=True)
"""


@contextmanager
def other_server(root: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_SERVER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        yield process
        process.kill()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{line.split(maxsplit=1)[0]}\n"


class Seen:
    """Runs a watch, and waits for the names that it tells."""

    def __init__(self, repository: Repository, interval: float) -> None:
        self._names: asyncio.Queue[str] = asyncio.Queue()
        self._task = asyncio.create_task(Watch(repository, interval).run(self._tell))

    def _tell(self, names: set[str]) -> None:
        for name in names:
            self._names.put_nowait(name)

    async def next(self, seconds: float = 5.0) -> str:
        return await asyncio.wait_for(self._names.get(), seconds)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def never(*_: object, **__: object) -> AsyncIterator[set[object]]:
    """A file system that tells nothing."""
    await asyncio.Event().wait()
    yield set()


@pytest.mark.parametrize("way", ["events", "looking"])
async def test_another_server_is_followed_within_5_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "looking":
        monkeypatch.setattr(watch, "awatch", never)
    repository = Repository(tmp_path)
    seen = Seen(repository, 600.0 if way == "events" else 0.5)
    with other_server(tmp_path) as server:
        tell(server, "publish b 1")
        assert await seen.next() == "b"
        tell(server, "alias b live 1")
        while "live" not in repository.checkpoint("b").aliases:
            assert await seen.next() == "b"
        assert repository.resolve(parse("b")).number == 1
        tell(server, "delete b")
        while "b" in repository.names():
            assert await seen.next() == "b"
    await seen.stop()


async def test_without_events_it_goes_on_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no inotify instance left")

    monkeypatch.setattr(watch, "awatch", refuse)
    repository = Repository(tmp_path)
    seen = Seen(repository, 0.02)
    publish(Repository(tmp_path), "a")
    assert await seen.next() == "a"
    await seen.stop()


async def test_a_look_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "awatch", never)
    repository, failures = Repository(tmp_path), [RuntimeError("once")]
    looking = Watch(repository, 0.02)
    look = looking.look

    def fail_once() -> set[str]:
        if failures:
            raise failures.pop()
        return look()

    monkeypatch.setattr(looking, "look", fail_once)
    publish(Repository(tmp_path), "a")
    seen: asyncio.Queue[set[str]] = asyncio.Queue()
    task = asyncio.create_task(looking.run(seen.put_nowait))
    assert await asyncio.wait_for(seen.get(), 5.0) == {"a"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_change_within_the_same_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    repository, other = Repository(tmp_path), Repository(tmp_path)
    publish(other, "a", "1")
    publish(other, "a", "2")
    other.set_alias("a", "live", 1)
    looking = Watch(repository, 1.0)
    assert looking.look() == {"a"}
    before = (tmp_path / "a").stat()
    other.set_alias("a", "live", 2)
    os.utime(tmp_path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert looking.look() == {"a"}
    assert repository.resolve(parse("a")).number == 2


def test_what_has_not_changed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a")
    looking = Watch(repository, 1.0)
    looking.look()
    monkeypatch.setattr(watch, "_SAME_TIME", 0.0)
    looking._fresh.clear()
    monkeypatch.setattr(layout, "read", lambda folder: pytest.fail(f"{folder.name} was read"))
    assert looking.look() == set()


def test_own_changes_are_not_told_as_those_of_others(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    looking = Watch(repository, 1.0)
    publish(repository, "a")
    repository.set_alias("a", "live", 1)
    assert looking.look() == set()


def test_a_volume_that_is_away_is_not_empty(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    repository = Repository(root)
    publish(repository, "a")
    looking = Watch(repository, 1.0)
    root.rename(tmp_path / "away")
    assert looking.look() == set()
    root.mkdir()
    assert looking.look() == set()
    assert repository.names() == ["a"]
    root.rmdir()
    (tmp_path / "away").rename(root)
    Repository(root).delete_checkpoint("a")
    assert looking.look() == {"a"}
    assert repository.names() == []


def test_a_name_that_cannot_be_read_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a")
    repository.set_alias("a", "live", 1)

    def stale(path: Path) -> bytes:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Path, "read_bytes", stale)
    assert not repository.refresh("a")
    assert repository.resolve(parse("a")).number == 1


def test_an_alias_that_is_seen_before_its_version_keeps_its_meaning(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a", "1")
    repository.set_alias("a", "live", 1)
    other = publish(Repository(tmp_path), "a", "2")
    (tmp_path / "a" / "2").rename(tmp_path / "invisible")
    (tmp_path / "a" / "aliases.json").write_text('{"live": 2}')
    looking = Watch(repository, 1.0)
    assert looking.look() == {"a"}
    assert repository.resolve(parse("a")).number == 1
    assert repository.is_unsettled("a")
    (tmp_path / "invisible").rename(tmp_path / "a" / "2")
    assert looking.look() == {"a"}
    assert repository.resolve(parse("a")) == other
    assert not repository.is_unsettled("a")


def test_a_record_that_says_ready_too_early_is_not_believed(tmp_path: Path) -> None:
    repository, other = Repository(tmp_path), Repository(tmp_path)
    with repository.reserve("a") as reservation:
        reservation.note(record("a", 1))
        assert other.refresh("a")
        assert other.resolve(parse("a:1")).state is VersionState.VERIFYING
        assert other.find("a", "d") is None


def test_a_registration_whose_server_died_is_swept_by_the_next_look(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    (tmp_path / "a" / ".1").mkdir(parents=True)
    running = msgspec.structs.replace(record("a", 1), state=VersionState.EXPORTING)
    (tmp_path / "a" / ".1" / "record.json").write_bytes(msgspec.json.encode(running))
    looking = Watch(repository, 1.0)
    assert looking.look() == {"a"}
    looking.look()
    assert not (tmp_path / "a").exists()
    assert repository.names() == []
    with repository.reserve("b") as reservation:
        reservation.note(msgspec.structs.replace(running, checkpoint="b"))
        Watch(Repository(tmp_path), 1.0).look()
        assert (tmp_path / "b" / ".1").is_dir(), "it runs"


def test_a_name_that_was_copied_by_hand_is_its_own(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert Watch(repository, 1.0).look() == {"copy"}
    copied = repository.resolve(parse("copy:1"))
    assert (copied.reference, repository.artifact_folder(copied).is_dir()) == ("copy:1", True)


def test_listeners_hear_of_every_change_and_of_nothing_else(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    heard: list[str] = []
    repository.listen(heard.append)
    made = publish(repository, "a", "1")
    assert set(heard) == {"a"}
    heard.clear()
    repository.refresh("a")
    assert heard == []
    repository.set_alias("a", "x", 1)
    repository.delete_alias("a", "x")
    repository.delete_version(made)
    assert heard == ["a", "a", "a"]


def test_an_alias_is_removed_once(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a")
    repository.set_alias("a", "live", 1)
    repository.delete_alias("a", "live")
    for name, alias in (("a", "live"), ("b", "live")):
        with pytest.raises(CheckpointNotFound):
            repository.delete_alias(name, alias)
    assert json.loads((tmp_path / "a" / "aliases.json").read_text()) == {}


def test_a_reader_beside_a_busy_server_sees_whole_states_only(tmp_path: Path) -> None:
    """The other publishes, moves the alias and deletes what it left, over and over."""
    program = (
        "import os, sys; from pathlib import Path; from tests.unit.registry.test_repository import publish\n"
        "from trine.registry.repository import Repository\n"
        "os.fsync = lambda _: None\n"
        "repository = Repository(Path(sys.argv[1]))\n"
        "for number in range(30):\n"
        "    made = publish(repository, 'a', str(number)); repository.set_alias('a', 'live', made.number)\n"
        "    old = [one for one in repository.checkpoint('a').versions.values() if one.number != made.number]\n"
        "    [repository.delete_version(one) for one in old]\n"
    )
    repository = Repository(tmp_path)
    made = publish(repository, "a")
    repository.set_alias("a", "live", made.number)
    seen = []
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[3]
    ) as process:
        while process.poll() is None:
            repository.refresh("a")
            found = repository.resolve(parse("a"))
            assert found.state is VersionState.READY
            seen.append(found.number)
    assert process.returncode == 0
    repository.refresh("a")
    assert repository.resolve(parse("a")).number == 31
    assert seen == sorted(seen), "never back to an older sight"
    assert len(set(seen)) > 1
