"""How many versions are kept, how much disk they may take, and that nobody's version is deleted under them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.registry.test_repository import publish, record
from trine.errors import NotPossible, RepositoryFull
from trine.registry.lock import Hold
from trine.registry.quota import Quota
from trine.registry.records import VersionState
from trine.registry.repository import Repository


def numbers(repository: Repository, name: str = "a") -> list[int]:
    return list(repository.checkpoint(name).versions)


def test_the_oldest_that_no_alias_names_go(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for digest in "12345":
        publish(repository, "a", digest)
    repository.set_alias("a", "canary", 2)
    deleted = Quota(repository, 0, max_versions=2).prune("a")
    assert [one.number for one in deleted] == [1, 3, 4]
    assert numbers(repository) == [2, 5]
    assert Repository(tmp_path).checkpoint("a").aliases == {"canary": 2}


def test_the_newest_stays_although_no_alias_names_it_yet(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for digest in "12":
        publish(repository, "a", digest)
    repository.set_alias("a", "live", 1)
    assert Quota(repository, 0, max_versions=1).prune("a") == []
    assert numbers(repository) == [1, 2]


def test_failed_versions_do_not_count(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    publish(repository, "a", "1")
    with repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        reservation.fail(record("a", 2, VersionState.FAILED))
    publish(repository, "a", "3")
    assert Quota(repository, 0, max_versions=2).prune("a") == []


def test_without_a_limit_all_stay(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for digest in "123":
        publish(repository, "a", digest)
    quota = Quota(repository, 0, 0)
    quota.require(1 << 60)
    assert (quota.prune("a"), quota.prune("no-such-name")) == ([], [])
    assert numbers(repository) == [1, 2, 3]


def test_what_another_process_has_loaded_is_not_deleted(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    made = [publish(repository, "a", digest) for digest in "123"]
    program = (
        "import sys; from pathlib import Path; from trine.registry.references import parse\n"
        "from trine.registry.repository import Repository\n"
        "repository = Repository(Path(sys.argv[1])); hold = repository.hold(repository.resolve(parse('a:1')))\n"
        "print(hold.take(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        with pytest.raises(NotPossible, match="a:1 is loaded"):
            repository.delete_version(made[0])
        with pytest.raises(NotPossible, match="a:1 is loaded"):
            repository.delete_checkpoint("a")
        deleted = Quota(repository, 0, max_versions=1).prune("a")
        assert [one.number for one in deleted] == [2]
        other.kill()
        other.wait()
    assert numbers(repository) == [1, 3]
    repository.delete_version(made[0])
    assert numbers(repository) == [3]


def test_holds_share_and_deletion_excludes(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    made = publish(repository, "a")
    one, other = repository.hold(made), repository.hold(made)
    assert (one.take(), other.take()) == (True, True)
    one.release()
    alone = repository.hold(made)
    assert not alone.take_alone()
    other.release()
    assert alone.take_alone()
    assert not one.take()
    alone.release()
    repository.delete_version(made)
    assert not one.take()
    assert not Hold(tmp_path / "nothing").take_alone()


def test_a_full_repository_refuses_in_words_of_its_own(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    with repository.reserve("a") as reservation:
        reservation.staging.mkdir()
        (reservation.staging / "model.onnx").write_bytes(bytes(2_000_000))
        reservation.publish(record("a", 1))
    quota = Quota(repository, 3_000_000, 0)
    quota.require()
    quota.require(900_000)
    with pytest.raises(RepositoryFull) as caught:
        quota.require(1_000_000)
    assert "takes 2.0 MB of the 3.0 MB that it may, and this needs about 1.0 MB more" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(RepositoryFull, match=r"takes 2\.0 MB of the 1\.0 MB that it may; delete"):
        Quota(repository, 1_000_000, 0).require()
