"""A private copy of a checkpoint, so that what is loaded is what was checked, whatever its owner does meanwhile. The export process.

Only the files that decide the artifact are copied, so that no library finds another one beside them; the copy is hashed and checked, and
then its configs lose what says nothing (registry.rules.configs). It lies beside the staging folder: on the same disk, and away with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.export.plan import CheckpointInfo, ExportPlan, inspect, is_config, relevant_files
from trine.registry.rules import configs, documents
from trine.registry.rules.names import shown_file

_CHUNK = 1 << 20


@contextlib.contextmanager
def taken(plan: ExportPlan) -> Iterator[tuple[Path, CheckpointInfo]]:
    """The copy's folder, and what it holds. Raises what `plan.inspect` raises, and NotACheckpoint where it is not as planned."""
    with tempfile.TemporaryDirectory(dir=plan.staging.parent, prefix=".checkpoint-") as name:
        folder = Path(name)
        for path in relevant_files(plan.checkpoint, plan.task):
            _copy(path, plan.checkpoint, folder / path.relative_to(plan.checkpoint))
        info = inspect(folder, plan.task, plan.precision, plan.gate)
        if plan.digest and plan.digest != info.digest:
            raise NotACheckpoint("the checkpoint's files changed after they were read")
        sanitize(folder)
        yield folder, info


def _copy(path: Path, root: Path, target: Path) -> None:
    """What was opened is asked what it is, not its name: a name can be given to another file in between."""
    name = shown_file(path.name)
    target.parent.mkdir(exist_ok=True)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            where = Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))
            if not (
                stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and where.is_relative_to(root.resolve())
            ):
                raise UnsafeCheckpoint(f"{name} became a link, or no file, while it was read")
            with target.open("xb") as copy:
                shutil.copyfileobj(file, copy, _CHUNK)
    except FileNotFoundError as error:
        raise NotACheckpoint(f"{name} vanished while it was read") from error
    except PermissionError as error:
        raise NotACheckpoint(f"{name} may not be read") from error


def sanitize(folder: Path) -> None:
    """Write every config of the folder, and of those right below, without what decides nothing."""
    for path in (*folder.glob("*.json"), *folder.glob("*/*.json")):
        if is_config(path.name):
            clean = configs.sanitized(documents.read(path))
            path.write_text(json.dumps(clean, ensure_ascii=False), encoding="utf-8")
