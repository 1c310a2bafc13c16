"""Where a checkpoint's files come from: a folder, or a repository of the hub. Front process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    """As the caller gave it; checked against the import root by the publisher."""


@dataclass(frozen=True, slots=True)
class Hub:
    repo_id: str
    """"owner/name" or "name"."""
    revision: str
    """A branch, a tag or a commit."""


Source = Folder | Hub
