"""The files of a checkpoint folder: which there are, and that each is a plain file of its own. Front and export process.

A link may point to a file inside of the folder (as in a hub cache that was copied whole); anything that leads out is refused, and so
is a file that has a second name somewhere (a hard link), since nobody can tell where.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trine.errors import NotACheckpoint, UnsafeCheckpoint
from trine.registry.rules import documents
from trine.registry.rules.names import shown_file

MAX_FILES = 2000
_MAX_BYTES = 256 << 30
_CODE = (".py", ".pyc", ".pyd", ".so")
_SPARSE_FROM, _SPARSE_SHARE = 64 << 20, 8
"""A larger file of which less than an eighth is on the disk is made of holes."""


def regular_files(folder: Path) -> dict[str, Path]:
    """The folder's own plain files by name. Raises NotACheckpoint and UnsafeCheckpoint."""
    files = {}
    try:
        if not folder.is_dir():
            raise NotACheckpoint("the checkpoint folder does not exist", field="path")
        root = folder.resolve()
        for count, path in enumerate(sorted(folder.iterdir())):
            if count >= MAX_FILES:
                raise UnsafeCheckpoint(f"the checkpoint folder has more than {MAX_FILES} files")
            if _is_file(path, root):
                files[path.name] = path
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise NotACheckpoint("the checkpoint folder cannot be read", field="path") from error
    return files


def refuse_code(folder: Path) -> None:
    """Raises UnsafeCheckpoint where a Python file lies in the folder or below; hidden folders are a tool's own and not looked into."""
    for count, name in enumerate(_names_below(folder)):
        if count >= MAX_FILES:
            raise UnsafeCheckpoint(f"the checkpoint folder has more than {MAX_FILES} files")
        if name.lower().endswith(_CODE):
            raise UnsafeCheckpoint(
                f"{shown_file(name)} is code; a checkpoint's own code is never run, so take it out"
            )


def _names_below(folder: Path) -> Iterator[str]:
    for _, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from names


def file_below(folder: Path, subfolder: str, name: str) -> Path | None:
    """The file `name` of a subfolder that one of the checkpoint's files names; None where there is none.

    Raises UnsafeCheckpoint for a path that leads anywhere else.
    """
    if subfolder in {"", ".", ".."} or "/" in subfolder or "\\" in subfolder or "\0" in subfolder:
        raise UnsafeCheckpoint("a module's path is not the name of a folder inside of the checkpoint")
    path = folder / subfolder / name
    try:
        return path if _is_file(path, folder.resolve()) else None
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:  # a name that no file can have is a ValueError
        raise NotACheckpoint("the checkpoint folder cannot be read", field="path") from error


def _is_file(path: Path, root: Path) -> bool:
    """False for a folder. Raises UnsafeCheckpoint for what is neither, or is elsewhere too."""
    name = shown_file(path.name)
    if not path.resolve().is_relative_to(root):
        raise UnsafeCheckpoint(f"{name} is a link that leads out of the checkpoint folder")
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        return False
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeCheckpoint(f"{name} is no file: a device, a pipe or a socket")
    if found.st_nlink > 1:
        raise UnsafeCheckpoint(
            f"{name} has a second name, perhaps outside of the folder (a hard link); copy it"
        )
    on_disk = found.st_blocks * 512
    if found.st_size > _SPARSE_FROM and 0 < on_disk < found.st_size / _SPARSE_SHARE:
        raise UnsafeCheckpoint(f"{name} is made of holes (a sparse file)")
    if found.st_size > _MAX_BYTES:
        raise UnsafeCheckpoint(f"{name} is larger than {_MAX_BYTES >> 30} GiB")
    return True


def read_object(entries: Mapping[str, Path], name: str) -> dict[str, Any]:
    """The JSON object in one of the folder's files. Raises NotACheckpoint and UnsafeCheckpoint."""
    if name not in entries:
        raise NotACheckpoint(
            f"the folder has no {name}: it is not a checkpoint in the Hugging Face layout", field="path"
        )
    value = documents.read(entries[name])
    if not isinstance(value, dict):
        raise NotACheckpoint(f"{name} is not a JSON object")
    return value
