"""The one teller of a registration: read -> export -> verify -> publish -> load -> live. Front process, event loop only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from trine import artifact
from trine.artifact import Precision, Target, Task
from trine.config import Settings
from trine.errors import Draining, InvalidInput
from trine.export import launcher
from trine.export.plan import CheckpointInfo, ExportPlan, Gate, inspect
from trine.front.serving.pool import Pool
from trine.front.serving.views import EngineState, Progress
from trine.registry.records import Record, VersionState
from trine.registry.references import LIVE
from trine.registry.repository import Repository, Reservation
from trine.telemetry.metrics import Metrics

Registered = tuple[Record, bool]
"""The version, and whether it existed before."""


class Publisher:
    """One registration of a name at a time; those of different names run side by side."""

    def __init__(self, repository: Repository, pool: Pool, settings: Settings, metrics: Metrics) -> None:
        self._repository = repository
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._locks: dict[str, asyncio.Lock] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._cancelled = asyncio.Event()

    async def register(
        self,
        name: str,
        path: str,
        *,
        task: Task | None,
        precision: Precision | None,
        gate: Gate = Gate.ENFORCE,
        hold: bool,
    ) -> AsyncGenerator[Progress | Registered, None]:
        """Progress as it comes, at last the version: READY, or FAILED when the gate said no and is enforced.

        Without `precision` the gate chooses: int8 where it passes, else float32; on CUDA it is float16.

        Raises InvalidInput for the path or the precision, CheckpointRefused for the folder; nothing is left behind then, nor when the iterator
        is closed early.
        """
        outcome = "refused"
        try:
            folder = self._folder(path)
            precision = self._precision(precision)
            async with self._locks.setdefault(name, asyncio.Lock()):
                yield Progress("read", 0.0, "reading the checkpoint")
                info = await asyncio.to_thread(inspect, folder, task, precision, gate)
                yield Progress(
                    "read", 1.0, f"{info.architecture}, {info.weight_bytes / 1e6:.1f} MB of weights"
                )
                existing = self._repository.find(name, info.digest)
                record = existing
                if record is None:
                    async with contextlib.aclosing(
                        self._export(name, folder, info, precision, gate)
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
                    await self._go_live(record)
                yield record, existing is not None
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            self._metrics.registered(outcome)

    def cancel(self) -> None:
        """End the exports that run: the server is about to stop."""
        self._cancelled.set()

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
        self, name: str, folder: Path, info: CheckpointInfo, precision: Precision | None, gate: Gate
    ) -> AsyncGenerator[Progress | Record, None]:
        with self._repository.reserve(name) as reservation:
            record = _new_record(reservation, info, precision)
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
            yield await _whole(asyncio.to_thread(_conclude, reservation, record, verdict))

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

    async def _go_live(self, record: Record) -> None:
        """Load the version, move `live` to it, and only then retire the one that was live before."""
        await self._pool.load(record)
        aliases = self._repository.checkpoint(record.checkpoint).aliases
        before = aliases.get(LIVE)
        self._repository.set_alias(record.checkpoint, LIVE, record.number)
        self._pool.changed()
        if before is None or before in {record.number, *(n for a, n in aliases.items() if a != LIVE)}:
            return
        old = self._repository.checkpoint(record.checkpoint).versions.get(before)
        if old is not None and self._pool.view(old).state is not EngineState.UNLOADED:
            task = asyncio.create_task(self._pool.unload(old), name=f"retire {old.reference}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _whole(conclusion: Coroutine[Any, Any, Record]) -> Record:
    """Its result; a cancellation waits for its end, or the folder would be swept away while a thread publishes it."""
    task = asyncio.ensure_future(conclusion)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _new_record(reservation: Reservation, info: CheckpointInfo, precision: Precision | None) -> Record:
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
    )


def _conclude(reservation: Reservation, record: Record, verdict: launcher.Verdict) -> Record:
    """Publish or fail. The artifact is opened as a server would open it, hashes and all, before it is given a name."""
    opened = artifact.open_artifact(reservation.staging)
    parity = opened.manifest.parity
    record = msgspec.structs.replace(record, precision=opened.manifest.precision, parity=parity)
    if (verdict.passed and parity.passed) or parity.overridden:
        record = msgspec.structs.replace(record, state=VersionState.READY)
        reservation.publish(record)
    else:
        record = msgspec.structs.replace(record, state=VersionState.FAILED, reason=verdict.reason)
        reservation.fail(record)
    return record
