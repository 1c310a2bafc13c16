"""How much a repository may hold: bytes on disk, and versions of a checkpoint. Front process; blocking, for a thread."""

from __future__ import annotations

import contextlib
import logging

from trine.errors import CheckpointNotFound, NotPossible, RepositoryFull
from trine.registry import layout
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository

logger = logging.getLogger(__name__)


class Quota:
    """`max_bytes` and `max_versions` as in the settings; 0 is no limit."""

    def __init__(self, repository: Repository, max_bytes: int, max_versions: int) -> None:
        self._repository = repository
        self._max_bytes = max_bytes
        self._max_versions = max_versions

    def require(self, more: int = 0) -> None:
        """Raises RepositoryFull unless there is room for `more` bytes beside all that the folder has."""
        if not self._max_bytes:
            return
        taken = layout.disk_usage(self._repository.root)
        if taken + more > self._max_bytes:
            needed = f", and this needs about {_size(more)} more" if more else ""
            raise RepositoryFull(
                f"the repository takes {_size(taken)} of the {_size(self._max_bytes)} that it may{needed}; "
                "delete versions, or raise TRINE_MAX_REPOSITORY_BYTES"
            )

    def prune(self, name: str) -> list[Record]:
        """Delete the oldest READY versions beyond the limit that no alias names and no server has loaded; those deleted.

        The newest always stays, so that one that was published with `hold` can be given its alias.
        """
        deleted: list[Record] = []
        if not self._max_versions:
            return deleted
        with contextlib.suppress(CheckpointNotFound):
            versions = self._repository.checkpoint(name).versions.values()
            ready = [record for record in versions if record.state is VersionState.READY]
            for record in ready[:-1]:
                if len(ready) - len(deleted) <= self._max_versions:
                    break
                with contextlib.suppress(NotPossible):
                    self._repository.delete_version(record)
                    deleted.append(record)
                    logger.info("deleted a version beyond the limit", extra={"version": record.reference})
        return deleted


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
