"""Kills a process at each of its file-system calls in turn, and tells what the next start finds. Run as a program by the tests.

    python -m tests.unit.registry.crashing FOLDER EVERY    one JSON line for each crash, or for every so-many-th of them

A line has the number of the call, whether there was one (`crashed`), which of the states between two steps the next start finds
(`found`; -1 for none of them, then with `litter`), and whether a server that was there all the time reads whole versions (`reader`).

The process does all that changes a repository: it reserves a number, notes, stages, seals and publishes a version, moves an alias,
removes an alias, lets a registration fail, and deletes a version and a name. The kill comes from an audit hook, so before the call,
whatever code makes it. It is one process that forks, since there are almost three hundred crashes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.unit.engine.tasks.manifests import classifier
from tests.unit.registry import test_repository
from trine import artifact
from trine.registry.records import Record, VersionState
from trine.registry.references import parse
from trine.registry.repository import Repository

CALLS = frozenset(
    {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.listdir", "os.scandir"}
)
MANIFEST = classifier()


def record(name: str, number: int) -> Record:
    """The same whenever it is made, since the pictures of two runs are compared."""
    made = test_repository.record(name, number, digest=f"{name}{number}")
    return msgspec.structs.replace(made, create_time=1.0, parity=MANIFEST.parity)


def register(repository: Repository, name: str, *, passed: bool = True) -> None:
    with repository.reserve(name) as reservation:
        made = record(name, reservation.number)
        reservation.note(msgspec.structs.replace(made, state=VersionState.EXPORTING))
        reservation.staging.mkdir()
        for file in ("model.onnx", "tokenizer.json", artifact.REPORT):
            (reservation.staging / file).write_text("{}")
        artifact.seal(reservation.staging, MANIFEST)
        reservation.note(msgspec.structs.replace(made, state=VersionState.VERIFYING))
        if passed:
            reservation.publish(made)
        else:
            reservation.fail(msgspec.structs.replace(made, state=VersionState.FAILED, reason="off by 3"))


STEPS: list[Callable[[Repository], None]] = [
    lambda repository: register(repository, "a"),
    lambda repository: repository.set_alias("a", "live", 2),
    lambda repository: repository.set_alias("a", "canary", 1),
    lambda repository: repository.delete_alias("a", "canary"),
    lambda repository: register(repository, "a", passed=False),
    lambda repository: repository.delete_version(record("a", 1)),
    lambda repository: register(repository, "b"),
    lambda repository: repository.delete_checkpoint("b"),
]


def begin(root: Path) -> Repository:
    repository = Repository(root)
    register(repository, "a")
    repository.set_alias("a", "live", 1)
    return repository


def picture(root: Path) -> dict[str, str]:
    """Every file and folder with its content, but for the two files that are always there."""
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else "/"
        for path in root.rglob("*")
        if path.name not in {".lock", ".changed"} or path.parent != root
    }


def states(folder: Path) -> list[dict[str, str]]:
    """The pictures after each step, without a crash."""
    repository = begin(folder)
    found = [picture(folder)]
    for step in STEPS:
        step(repository)
        found.append(picture(folder))
    return found


def crash(folder: Path, number: int) -> bool:
    """All steps, with a kill before the file-system call of that number. False when there are not so many."""
    child = os.fork()
    if child == 0:
        left = number

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in CALLS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        repository = Repository(folder)
        sys.addaudithook(count)
        for step in STEPS:
            step(repository)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and status != 0:
        raise SystemExit("the steps failed")
    return os.WIFSIGNALED(status)


def works(reader: Repository) -> bool:
    """What a server that was there all the time finds: whoever asks for `a` gets a whole version."""
    for name in ("a", "b"):
        reader.refresh(name)
    artifact.open_artifact(reader.artifact_folder(reader.resolve(parse("a"))))
    return all(
        reader.artifact_folder(found).is_dir()
        for name in reader.names()
        for found in reader.checkpoint(name).versions.values()
        if found.state is VersionState.READY
    )


def main(folder: Path, every: int) -> None:
    # The kernel outlives the process, so nothing depends on it here; it takes most of the time.
    os.fsync = lambda fd: None
    known = states(folder / "whole")
    begin(folder / "first")
    number, crashed = 0, True
    while crashed:
        number += every
        root = Path(shutil.copytree(folder / "first", folder / "now"))
        reader = Repository(root)
        crashed = crash(root, number)
        told: dict[str, object] = {"call": number, "reader": works(reader), "crashed": crashed}
        Repository(root)
        seen = picture(root)
        told["found"] = known.index(seen) if seen in known else -1
        if seen not in known:
            told["litter"] = sorted(set(seen) - set(known[-1]))
        register(Repository(root), "c")
        shutil.rmtree(root)
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
