"""The one teller of a registration: read -> export -> verify -> publish -> load -> live. Front process, event loop only."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from trine import artifact
from trine.artifact import Precision, Target, Task
from trine.config import Settings
from trine.errors import CheckpointRefused, Draining, InvalidInput
from trine.export import launcher
from trine.export.plan import CheckpointInfo, ExportPlan, Gate, inspect
from trine.front.serving.fetching import SHARE, fetched
from trine.front.serving.importing import Importer
from trine.front.serving.pool import Pool
from trine.front.serving.rollout import Rollout
from trine.front.serving.views import Progress
from trine.front.serving.whole import whole
from trine.registry import lineage
from trine.registry.quota import Quota
from trine.registry.records import Lineage, Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository
from trine.registry.reservation import Reservation
from trine.registry.source import Folder, Source
from trine.telemetry.metrics import Metrics

Registered = tuple[Record, bool]
"""The version, and whether it existed before."""


class Publisher:
    """One registration of a name at a time; those of different names run side by side."""

    def __init__(
        self, repository: Repository, pool: Pool, rollout: Rollout, settings: Settings, metrics: Metrics
    ) -> None:
        self._repository = repository
        self._pool = pool
        self._rollout = rollout
        self._settings = settings
        self._metrics = metrics
        self._quota = Quota(repository, settings.max_repository_bytes, settings.max_versions)
        self._importer = Importer(repository, pool, rollout, self._quota, Target(settings.provider))
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._cancelled = asyncio.Event()

    async def register(
        self,
        name: str,
        source: Source,
        *,
        task: Task | None,
        precision: Precision | None,
        gate: Gate = Gate.ENFORCE,
        hold: bool,
        claims: Lineage,
    ) -> AsyncGenerator[Progress | Registered, None]:
        """Progress as it comes, at last the version: READY, or FAILED when the gate said no and is enforced.

        `claims` is what the caller says of its lineage. Without `precision` the gate chooses: int8 where it passes, else float32; on CUDA it is float16.

        Raises InvalidInput for the path or the precision, CheckpointRefused for the folder; nothing is left behind then, nor when the iterator
        is closed early.
        """
        outcome = "refused"
        try:
            precision = self._precision(precision)
            async with contextlib.aclosing(self._files(source)) as found:
                async for each in found:
                    if isinstance(each, Progress):
                        yield each
                    else:
                        folder, come_from = each
            async with self._locks.setdefault(name, asyncio.Lock()):
                info = await asyncio.to_thread(inspect, folder, task, precision, gate)
                said = await asyncio.to_thread(lineage.read, folder)
                origin = lineage.merged(claims, said, come_from, self._repository)
                yield Progress(
                    "read", 1.0, f"{info.architecture}, {info.weight_bytes / 1e6:.1f} MB of weights"
                )
                await asyncio.to_thread(
                    self._repository.refresh, name
                )  # another server may just have done the same
                existing = self._repository.find(name, info.digest)
                record = existing
                if record is None:
                    async with contextlib.aclosing(
                        self._export(name, folder, info, precision, gate, origin)
                    ) as steps:
                        async for step in steps:
                            if isinstance(step, Record):
                                record = step
                            else:
                                yield step
                assert record is not None
                outcome = "existing" if existing else str(record.state)
                self._pool.changed()  # a new name has a health too, also while nothing of it is loaded
                if record.state is VersionState.READY and not hold:
                    yield Progress("publish", 0.5, f"loading {record.reference}")
                    await self._rollout.move(name, LIVE, record, load=True)
                await asyncio.to_thread(self._quota.prune, name)
                yield record, existing is not None
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            self._metrics.registered(outcome)

    async def import_artifact(self, name: str, path: str, *, hold: bool) -> Registered:
        """Publish a copy of the artifact in the folder `path`, once it is checked; READY at once, or refused.

        Raises InvalidInput for the path, NotPossible where it is for another device, RepositoryFull, and CheckpointRefused for what is wrong with it.
        Nothing is left behind then, also where its self-test fails as it goes live. What keeps it from loading otherwise is raised
        too, and leaves it READY, as after `register`.
        """
        outcome = "refused"
        try:
            folder = self._folder(path)
            async with self._locks.setdefault(name, asyncio.Lock()):
                await asyncio.to_thread(self._repository.refresh, name)
                record, existing = await self._importer.publish(name, folder)
                outcome = "existing" if existing else str(record.state)
                self._pool.changed()
                if not hold:
                    await self._importer.go_live(record, existing)
                await asyncio.to_thread(self._quota.prune, name)
                return record, existing
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except CheckpointRefused:
            outcome = "refused"
            raise
        finally:
            self._metrics.registered(outcome)

    def cancel(self) -> None:
        """End the exports that run: the server is about to stop."""
        self._cancelled.set()

    async def _files(self, source: Source) -> AsyncGenerator[Progress | tuple[Path, Lineage], None]:
        """The checkpoint's folder, after progress, and what is known of where it comes from. Raises as `fetched` and `_folder` do."""
        if isinstance(source, Folder):
            folder = self._folder(source.path)
            yield Progress("read", 0.0, "reading the checkpoint")
            yield folder, Lineage(source=folder.name)
            return
        async with contextlib.aclosing(
            fetched(source, self._settings, self._quota, self._cancelled)
        ) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    yield step
                else:
                    yield Progress("read", SHARE, "reading the checkpoint")
                    yield step.folder, Lineage(source=step.repo_id, source_revision=step.commit)

    def _folder(self, path: str) -> Path:
        """The folder, resolved. Its links are resolved first, so that none leads out of the import root."""
        root = self._settings.import_root.resolve()
        if not Path(path).is_absolute():
            raise InvalidInput("the path must be absolute, in the server's own file system", field="path")
        try:
            folder = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links
            raise InvalidInput("the path leads nowhere", field="path") from None
        if not folder.is_relative_to(root):
            raise InvalidInput("the path is not under the server's import root", field="path")
        return folder

    def _precision(self, asked: Precision | None) -> Precision | None:
        """What is exported for the device that this server computes on; None: the gate chooses."""
        target = Target(self._settings.provider)
        if asked is None:
            return Precision.FP16 if target is Target.CUDA else None
        if asked.target is not target:
            raise InvalidInput(
                f"{asked} is for {asked.target}, and this server computes on {target}", field="precision"
            )
        return asked

    async def _export(
        self,
        name: str,
        folder: Path,
        info: CheckpointInfo,
        precision: Precision | None,
        gate: Gate,
        origin: Lineage,
    ) -> AsyncGenerator[Progress | Record, None]:
        await asyncio.to_thread(self._quota.require, info.weight_bytes)
        with self._repository.reserve(name) as reservation:
            record = _new_record(reservation, info, precision, origin)
            reservation.note(record)
            reservation.staging.mkdir()
            plan = ExportPlan(
                checkpoint=folder,
                staging=reservation.staging,
                task=info.task,
                precision=precision,
                gate=gate,
                digest=info.digest,
                timeout=self._settings.export_timeout,
                device_id=self._settings.device_id,
            )
            verdict: launcher.Verdict | None = None
            async with contextlib.aclosing(launcher.run(plan)) as steps:
                while (step := await self._next(steps)) is not None:
                    if step.stage == "verify" and record.state is VersionState.EXPORTING:
                        record = msgspec.structs.replace(record, state=VersionState.VERIFYING)
                        reservation.note(record)
                    verdict = step.verdict
                    yield Progress(step.stage, step.fraction, step.message)
            assert verdict is not None
            await asyncio.to_thread(self._quota.require)
            yield await whole(asyncio.to_thread(_conclude, reservation, record, verdict))

    async def _next(self, steps: AsyncGenerator[launcher.Progress, None]) -> launcher.Progress | None:
        """The next step, None after the last. Raises Draining as soon as the server is about to stop."""
        step = asyncio.ensure_future(anext(steps, None))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({step, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                raise Draining("the server is about to stop")
            return step.result()
        finally:
            cancelled.cancel()
            step.cancel()
            await asyncio.gather(step, cancelled, return_exceptions=True)


def _new_record(
    reservation: Reservation, info: CheckpointInfo, precision: Precision | None, origin: Lineage
) -> Record:
    return Record(
        checkpoint=reservation.name,
        number=reservation.number,
        state=VersionState.EXPORTING,
        architecture=info.architecture,
        family=info.family,
        task=info.task,
        precision=precision,
        digest=info.digest,
        create_time=time.time(),
        lineage=origin,
    )


def _conclude(reservation: Reservation, record: Record, verdict: launcher.Verdict) -> Record:
    """Publish or fail. The artifact is opened as a server would open it, hashes and all, before it is given a name."""
    opened = artifact.open_artifact(reservation.staging)
    parity = opened.manifest.parity
    record = msgspec.structs.replace(record, precision=opened.manifest.precision, parity=parity)
    if (verdict.passed and parity.passed) or parity.overridden:
        record = msgspec.structs.replace(record, state=VersionState.READY)
        record = reservation.publish(record)
    else:
        record = msgspec.structs.replace(record, state=VersionState.FAILED, reason=verdict.reason)
        reservation.fail(record)
    return record
