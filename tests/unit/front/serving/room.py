"""The serving room over stand-in engines: put together as app.py does it, for tests to look into."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trine.artifact import Family, Precision, Task
from trine.config import Settings
from trine.front.serving.admission import Admission
from trine.front.serving.inference import Inference
from trine.front.serving.pool import Pool
from trine.front.serving.rollout import Rollout
from trine.front.serving.status import Status
from trine.registry.records import Record, VersionState
from trine.registry.repository import Repository
from trine.telemetry.metrics import Metrics


class Room:
    """The serving objects, put together as app.py does, and what they tell."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.settings = Settings.model_validate(
            {"repository": root, "engine_restart_pause": 0.05, "engine_window": 8, **settings}
        )
        self.metrics = Metrics()
        self.repository = Repository(root)
        self.status = Status(self.repository)
        self.pool = Pool(self.repository, self.settings, self.metrics, self.changed)
        self.status.attach(self.pool)
        self.rollout = Rollout(self.repository, self.pool, self.settings.load)
        self.admission = Admission(self.settings, self.metrics)
        self.inference = Inference(self.pool, self.admission, self.settings, self.metrics)

    def changed(self) -> None:
        self.status.update()

    def publish(
        self,
        name: str,
        mode: str = "ok",
        task: Task = Task.CLASSIFICATION,
        *,
        alias: str | None = "live",
        into: Repository | None = None,
    ) -> Record:
        """A version whose artifact folder is called `mode`, aliased; by another server where `into` is its repository."""
        repository = into or self.repository
        with repository.reserve(name) as reservation:
            reservation.staging.mkdir()
            (reservation.staging / mode).mkdir()
            record = Record(
                checkpoint=name,
                number=reservation.number,
                state=VersionState.READY,
                architecture="BertForSequenceClassification",
                family=Family.ENCODER,
                task=task,
                precision=Precision.FP32,
                digest=mode,
                create_time=time.time(),
            )
            reservation.publish(record)
        if alias is not None:
            repository.set_alias(name, alias, record.number)
        return record

    async def loaded(self, name: str, task: Task = Task.CLASSIFICATION) -> Record:
        record = self.publish(name, task=task)
        await self.pool.load(record)
        return record

    def page(self) -> str:
        return self.metrics.render("text/plain")[0].decode()


def engine_of(room: Room, record: Record) -> int:
    process = room.pool.process_id(record)
    assert process is not None
    return process


def is_gone(process: int) -> bool:
    """Ended, and reaped too."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False
