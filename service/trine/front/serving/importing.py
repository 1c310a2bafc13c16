"""An artifact that was exported elsewhere becomes a version: copy -> check -> publish -> live. Front process, event loop only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from trine import artifact
from trine.artifact import Manifest, Target
from trine.errors import CheckpointNotFound, CheckpointRefused, NotPossible
from trine.front.serving.pool import Pool
from trine.front.serving.rollout import Rollout
from trine.front.serving.whole import whole
from trine.registry import imported, incoming
from trine.registry.quota import Quota
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository
from trine.registry.reservation import Reservation


class Importer:
    """`target` is what this server computes on."""

    def __init__(
        self, repository: Repository, pool: Pool, rollout: Rollout, quota: Quota, target: Target
    ) -> None:
        self._repository = repository
        self._pool = pool
        self._rollout = rollout
        self._quota = quota
        self._target = target

    async def publish(self, name: str, folder: Path) -> tuple[Record, bool]:
        """The version, READY, and whether it existed before: the same files, be they imported or exported here.

        What is checked is the copy, which is what is published. Raises CheckpointRefused, NotPossible for another device, RepositoryFull;
        nothing is left behind then.
        """
        size = await asyncio.to_thread(incoming.size, folder)
        await asyncio.to_thread(self._quota.require, size)
        with self._repository.reserve(name) as reservation:
            await whole(asyncio.to_thread(incoming.copy, folder, reservation.staging))
            opened = await imported.check_apart(reservation.staging)
            self._require_target(opened.manifest)
            record = await asyncio.to_thread(_record, reservation, opened.manifest)
            if (existing := self._same(record)) is not None:
                return existing, True
            await asyncio.to_thread(self._quota.require)
            return await whole(asyncio.to_thread(reservation.publish, record)), False

    async def go_live(self, record: Record, existing: bool) -> None:
        """Load it and move `live`. The engine repeats the stored self-test; an artifact that this refutes is no version, and goes.

        Raises what keeps it from loading.
        """
        try:
            await self._rollout.move(record.checkpoint, LIVE, record, load=True)
        except CheckpointRefused:
            if not existing:
                with contextlib.suppress(CheckpointNotFound, NotPossible):  # another server may use it
                    await whole(asyncio.to_thread(self._repository.delete_version, record))
                    self._pool.forget(record)
            raise

    def _require_target(self, manifest: Manifest) -> None:
        if manifest.target is not self._target:
            raise NotPossible(
                f"the artifact is for {manifest.target}, and this server computes on {self._target}",
                field="path",
            )

    def _same(self, record: Record) -> Record | None:
        versions = self._repository.state(record.checkpoint).versions.values()
        ready = (other for other in versions if other.state is VersionState.READY)
        return next((other for other in ready if other.manifest_sha256 == record.manifest_sha256), None)


def _record(reservation: Reservation, manifest: Manifest) -> Record:
    """Its digest is that of the manifest, and so of all files: what it says that it was made from is only a claim."""
    digest = artifact.sha256(reservation.staging / artifact.MANIFEST)
    return Record(
        checkpoint=reservation.name,
        number=reservation.number,
        state=VersionState.READY,
        architecture=manifest.architecture,
        family=manifest.family,
        task=manifest.task,
        precision=manifest.precision,
        digest=digest,
        create_time=time.time(),
        parity=manifest.parity,
        lineage=Lineage(source="artifact"),
        manifest_sha256=digest,
    )
