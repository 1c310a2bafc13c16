"""Which version an alias means in this server: the one that it names on disk where that is live here, else the one before.

Another server may have moved an alias a moment ago. Until the version that it names now is live here too, callers go on with the
version that answered them before. Front process, event loop only.
"""

from __future__ import annotations

from collections.abc import Callable

from trine.registry.records import Record
from trine.registry.references import LIVE, Reference
from trine.registry.repository import Repository


class Routes:
    """`update` is called at each change of an engine or of the repository; a request only reads."""

    def __init__(self, repository: Repository, is_live: Callable[[Record], bool]) -> None:
        self._repository = repository
        self._is_live = is_live
        self._served: dict[str, dict[str, Record]] = {}
        """Name -> alias -> the version that was last live under it."""
        self._left: dict[str, dict[int, Record]] = {}
        """Name -> number -> the versions that an alias has left for another, until they are taken."""

    def resolve(self, reference: Reference) -> Record:
        """The version that a request of `reference` goes to. Raises CheckpointNotFound."""
        record = self._repository.resolve(reference)
        if reference.number is not None or self._is_live(record):
            return record
        before = self._served.get(reference.name, {}).get(reference.alias or LIVE)
        return before if before is not None and self._is_live(before) else record

    def served(self, name: str) -> dict[str, Record]:
        """Alias to the version that was last live under it."""
        return self._served.get(name, {})

    def update(self) -> None:
        """Move each alias on to the version that it names, where that is live."""
        names = self._repository.names()
        for table in (self._served, self._left):
            for name in table.keys() - set(names):
                del table[name]
        for name in names:
            self._update(name)

    def _update(self, name: str) -> None:
        checkpoint = self._repository.state(name)
        served = self._served.get(name, {})
        for alias in served.keys() - checkpoint.aliases.keys():
            del served[alias]
        for alias, number in checkpoint.aliases.items():
            record, before = checkpoint.versions.get(number), served.get(alias)
            if record is not None and self._is_live(record):
                if before is not None and before.number != number:
                    self._left.setdefault(name, {})[before.number] = before
                self._served.setdefault(name, {})[alias] = record

    def take_unused(self, name: str) -> list[Record]:
        """The versions that aliases of `name` have left and that none means by now, on disk or here; each is told once."""
        left = self._left.pop(name, {})
        if not left:
            return []
        used = set(self._repository.state(name).aliases.values())
        used |= {record.number for record in self.served(name).values()}
        return [record for number, record in left.items() if number not in used]
