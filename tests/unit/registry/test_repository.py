import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from trine.artifact import Family, Precision, Task
from trine.errors import ArtifactCorrupt, CheckpointNotFound, NotPossible
from trine.registry.records import Record, VersionState
from trine.registry.references import parse
from trine.registry.repository import Repository


def record(name: str, number: int, state: VersionState = VersionState.READY, digest: str = "d") -> Record:
    return Record(
        checkpoint=name,
        number=number,
        state=state,
        architecture="BertForSequenceClassification",
        family=Family.ENCODER,
        task=Task.CLASSIFICATION,
        precision=Precision.FP32,
        digest=digest,
        create_time=time.time(),
    )


def publish(repository: Repository, name: str, digest: str = "d") -> Record:
    with repository.reserve(name) as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "manifest.json").write_text("{}")
        made = record(name, reservation.number, digest=digest)
        reservation.note(msgspec.structs.replace(made, state=VersionState.EXPORTING))
        return reservation.publish(made)


def test_a_published_version_is_found_again_by_a_new_process(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    made = publish(repository, "a")
    repository.set_alias("a", "live", 1)
    again = Repository(tmp_path)
    assert again.resolve(parse("a")) == made
    assert again.resolve(parse("a:1")) == made
    assert again.resolve(parse("a@live")) == made
    assert again.find("a", "d") == made
    assert again.find("a", "other") is None
    assert (again.artifact_folder(made) / "manifest.json").is_file()


def test_a_manifest_that_has_changed_is_not_loaded(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    made = publish(repository, "a")
    repository.check_manifest(made)
    manifest = repository.artifact_folder(made) / "manifest.json"
    for content in ("{ }", None):
        manifest.unlink()
        if content is not None:
            manifest.write_text(content)
        with pytest.raises(ArtifactCorrupt, match="the manifest of a:1 is not as it was published"):
            repository.check_manifest(made)
    repository.check_manifest(msgspec.structs.replace(made, manifest_sha256=""))


def test_numbers_go_up_and_are_never_given_twice(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    first, second = publish(repository, "a", "1"), publish(repository, "a", "2")
    assert (first.number, second.number) == (1, 2)
    repository.delete_version(second)
    assert publish(repository, "a", "3").number == 3
    assert list(repository.checkpoint("a").versions) == [1, 3]


def test_a_registration_that_stops_leaves_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with pytest.raises(KeyboardInterrupt), repository.reserve("a") as reservation:
        reservation.note(record("a", 1, VersionState.EXPORTING))
        assert repository.checkpoint("a").versions[1].state is VersionState.EXPORTING
        raise KeyboardInterrupt
    assert repository.names() == []
    assert not (tmp_path / "a").exists()


def test_a_failed_version_keeps_its_reason_and_report_only(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "report.json").write_text("{}")
        (reservation.staging / "model.onnx").write_text("big")
        reservation.fail(msgspec.structs.replace(record("a", 1, VersionState.FAILED), reason="off by 3"))
    assert repository.resolve(parse("a:1")).reason == "off by 3"
    assert sorted(p.name for p in (tmp_path / "a" / "1").iterdir()) == ["record.json", "report.json"]
    with pytest.raises(NotPossible):
        repository.set_alias("a", "live", 1)
    assert repository.find("a", "d") is None


def test_what_is_aliased_is_not_deleted(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    made = publish(repository, "a")
    repository.set_alias("a", "live", 1)
    with pytest.raises(NotPossible, match="live"):
        repository.delete_version(made)
    repository.delete_checkpoint("a")
    assert repository.names() == []
    with pytest.raises(CheckpointNotFound):
        repository.resolve(parse("a"))
    assert publish(repository, "a").number == 1


def test_a_dead_registration_is_swept_and_a_running_one_is_not(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from trine.registry.repository import Repository\n"
        "r = Repository(Path(sys.argv[1])).reserve('a'); print('held', flush=True); sys.stdin.read(); os._exit(9)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    Repository(tmp_path)
    assert (tmp_path / "a" / ".1").is_dir()
    child.stdin.close()
    child.wait()
    child.stdout.close()
    Repository(tmp_path)
    assert not (tmp_path / "a").exists()


def _reserve(root: str, numbers: "multiprocessing.SimpleQueue[int]") -> None:
    repository = Repository(Path(root))
    for _ in range(10):
        numbers.put(publish(repository, "a", str(os.getpid())).number)


def test_two_servers_that_register_at_once_never_collide(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    processes = [context.Process(target=_reserve, args=(str(tmp_path), numbers)) for _ in range(2)]
    for process in processes:
        process.start()
    got = [numbers.get() for _ in range(20)]
    for process in processes:
        process.join()
    assert sorted(got) == list(range(1, 21))


def test_an_alias_is_replaced_in_one_step(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a", "1")
    publish(repository, "a", "2")
    repository.set_alias("a", "live", 2)
    repository.set_alias("a", "live", 1)
    assert Repository(tmp_path).checkpoint("a").aliases == {"live": 1}
    assert [p.name for p in (tmp_path / "a").iterdir() if p.name.startswith(".aliases")] == []


def test_a_relative_folder_means_the_same_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = Repository(Path("repository"))
    with repository.reserve("a") as reservation:
        assert reservation.staging.is_absolute()
    made = publish(repository, "a")
    assert repository.artifact_folder(made).is_relative_to(tmp_path)


def test_foreign_folders_and_broken_records_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "a" / "1" / "record.json").write_text("{not json")
    assert Repository(tmp_path).names() == []


def test_a_volume_may_hold_what_is_not_ours(tmp_path: Path) -> None:
    """ext4 puts a folder lost+found on every volume, which its mount point's user may not even read."""
    foreign = [tmp_path / "lost+found", tmp_path / ".snapshots", tmp_path / "Not-A-Name"]
    for folder in foreign:
        folder.mkdir()
    (tmp_path / "Not-A-Name" / ".1").mkdir()
    repository = Repository(tmp_path)
    assert repository.names() == []
    assert all(folder.is_dir() for folder in foreign)
    assert (tmp_path / "Not-A-Name" / ".1").is_dir()
