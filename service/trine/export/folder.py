"""The files of a checkpoint folder, read without trust in what they say. Front and export process."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trine.errors import NotACheckpoint, UnsafeCheckpoint

_MAX_JSON = 16 << 20


def regular_files(folder: Path) -> dict[str, Path]:
    """The folder's own files by name. A link may point to a file inside of the folder only.

    Raises NotACheckpoint and UnsafeCheckpoint.
    """
    files = {}
    try:
        if not folder.is_dir():
            raise NotACheckpoint("the checkpoint folder does not exist", field="path")
        root = folder.resolve()
        for path in sorted(folder.iterdir()):
            if not path.resolve().is_relative_to(root):
                raise UnsafeCheckpoint(f"{path.name} is a link that leads out of the checkpoint folder")
            if stat.S_ISREG(path.stat().st_mode):
                files[path.name] = path
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise NotACheckpoint("the checkpoint folder cannot be read", field="path") from error
    return files


def file_below(folder: Path, subfolder: str, name: str) -> Path | None:
    """The file `name` of a subfolder that one of the checkpoint's files names; None where there is none.

    Raises UnsafeCheckpoint for a path that leads anywhere else.
    """
    if subfolder in {"", ".", ".."} or "/" in subfolder or "\\" in subfolder or "\0" in subfolder:
        raise UnsafeCheckpoint("a module's path is not the name of a folder inside of the checkpoint")
    path = folder / subfolder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UnsafeCheckpoint(f"{name} is a link that leads out of the checkpoint folder")
        return path if stat.S_ISREG(path.stat().st_mode) else None
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:  # a name that no file can have is a ValueError
        raise NotACheckpoint("the checkpoint folder cannot be read", field="path") from error


def read_object(entries: Mapping[str, Path], name: str) -> dict[str, Any]:
    """The JSON object in one of the folder's files. Raises NotACheckpoint."""
    if name not in entries:
        raise NotACheckpoint(
            f"the folder has no {name}: it is not a checkpoint in the Hugging Face layout", field="path"
        )
    value = read_json(entries[name])
    if not isinstance(value, dict):
        raise NotACheckpoint(f"{name} is not a JSON object")
    return value


def read_json(path: Path) -> Any:
    """Raises NotACheckpoint."""
    try:
        if path.stat().st_size > _MAX_JSON:
            raise NotACheckpoint(f"{path.name} is larger than {_MAX_JSON >> 20} MiB")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NotACheckpoint(f"{path.name} is not JSON") from error
