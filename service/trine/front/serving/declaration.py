"""What `trine serve --config FILE` declares: settings, checkpoints, their aliases and which are loaded. Front process.

    [server]                      settings of trine.config by their names; environment and command line go before them
    [checkpoints.NAME]            one checkpoint, of one of the sources `path`, `hub` and `artifact`, or of none where it is there already
    [checkpoints.NAME.aliases]    alias = a version's number, or "declared": the version that the source gives

Only read here; `declared` brings the repository to it.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from trine.artifact import Precision, Task
from trine.config import Settings
from trine.errors import InvalidInput
from trine.export.plan import Gate
from trine.registry.references import LIVE, check_name

DECLARED = "declared"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DeclaredCheckpoint(_Table):
    """One checkpoint; the options of its registration are those of RegisterCheckpoint."""

    path: str = ""
    """Its folder; relative to the import root."""
    hub: str = ""
    """Or its repository of the hub: "owner/name"."""
    revision: str = "main"
    """Of the hub's repository: a branch, a tag or a commit."""
    artifact: str = ""
    """Or the folder of an exported artifact; relative to the import root."""
    task: Task | None = None
    precision: Precision | None = None
    """None, "auto" in the file: the gate chooses."""
    gate: Gate = Gate.ENFORCE
    base_checkpoint: str = ""
    training_data: str = ""
    license: str = ""
    aliases: dict[str, int | str] = {}
    """With a source and without `live` among them, `live` is "declared"."""
    load: bool | list[str] | None = None
    """The aliases whose versions are loaded, and no others of this name; true: `live`, false: none. Default: as the server's
    setting says."""

    @field_validator("task", mode="before")
    @classmethod
    def _task(cls, value: object) -> object:
        return _member(Task, value)

    @field_validator("precision", mode="before")
    @classmethod
    def _precision(cls, value: object) -> object:
        return None if value == "auto" else _member(Precision, value)

    @field_validator("gate", mode="before")
    @classmethod
    def _gate(cls, value: object) -> object:
        return _member(Gate, value)

    @field_validator("aliases", mode="before")
    @classmethod
    def _aliases(cls, value: object) -> object:
        for alias, number in value.items() if isinstance(value, dict) else ():
            _check(alias)
            if number != DECLARED and (type(number) is not int or number < 1):
                raise ValueError(f'{alias} is neither a version\'s number nor "{DECLARED}"')
        return value

    @field_validator("load", mode="before")
    @classmethod
    def _load(cls, value: object) -> object:
        if isinstance(value, bool) or (
            isinstance(value, list) and all(isinstance(one, str) for one in value)
        ):
            return value
        raise ValueError("is neither true, false nor a list of aliases")

    @model_validator(mode="after")
    def _one_source(self) -> DeclaredCheckpoint:
        if sum(map(bool, (self.path, self.hub, self.artifact))) > 1:
            raise ValueError("has more than one of path, hub and artifact")
        if not self.has_source and DECLARED in self.aliases.values():
            raise ValueError('has an alias that is "declared", and none of path, hub and artifact')
        return self

    @property
    def has_source(self) -> bool:
        return bool(self.path or self.hub or self.artifact)

    @property
    def meanings(self) -> dict[str, int | None]:
        """Alias to number; None for the version that the source gives. `live` first, as callers wait for it."""
        live: dict[str, int | str] = {LIVE: DECLARED} if self.has_source else {}
        aliases = live | self.aliases
        return {alias: None if number == DECLARED else int(number) for alias, number in aliases.items()}

    def loaded_aliases(self, setting: str) -> list[str] | None:
        """The aliases whose versions are loaded; None: what is loaded is left as it is."""
        if self.load is None:
            return [LIVE] if setting == "live" else None
        if isinstance(self.load, bool):
            return [LIVE] if self.load else []
        return self.load


class Declaration(_Table):
    """A whole file."""

    server: dict[str, Any] = {}
    checkpoints: dict[str, DeclaredCheckpoint] = {}

    @field_validator("server")
    @classmethod
    def _known(cls, server: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(server.keys() - Settings.model_fields.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is an unknown key")
        return server

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _names(cls, checkpoints: object) -> object:
        for name in checkpoints if isinstance(checkpoints, dict) else ():
            _check(name)
        return checkpoints

    def settings(self, given: dict[str, Any]) -> Settings:
        """Those of the file; variables of the environment go before them, and `given` before both. Raises pydantic's ValueError."""
        variables = {name.upper() for name in os.environ}
        prefix = str(Settings.model_config["env_prefix"])
        kept = {k: v for k, v in self.server.items() if f"{prefix}{k}".upper() not in variables}
        return Settings(**(kept | given))


def read(content: bytes) -> Declaration:
    """Raises InvalidInput that names the key at fault."""
    try:
        return Declaration.model_validate(tomllib.loads(content.decode()))
    except UnicodeDecodeError:
        raise InvalidInput("the file is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"the file is no TOML: {error}") from None
    except ValidationError as error:
        faults = [_fault(item["loc"], item["type"], item["msg"]) for item in error.errors()]
        raise InvalidInput("; ".join(dict.fromkeys(faults))) from None


def read_file(path: Path) -> Declaration:
    """Raises InvalidInput, also where there is no such file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}") from None
    return read(content)


def _check(name: str) -> None:
    try:
        check_name(name)
    except InvalidInput as error:
        raise ValueError(f"{name}: {error.message}") from None


def _fault(place: tuple[int | str, ...], kind: str, words: str) -> str:
    """One line for people."""
    key = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return f"{key} is an unknown key"
    return f"{key}: {words.removeprefix('Value error, ')}"


def _member(kind: type[Task] | type[Precision] | type[Gate], value: object) -> object:
    """The enumeration's member; a strict model takes no string for one."""
    names = [str(one) for one in kind]
    if value not in names:
        raise ValueError(f"is none of {', '.join(names)}")
    return kind(value)
