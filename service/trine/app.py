"""The composition root: settings in, a running server out. READ THIS FIRST.

A server is four rooms put together here: the repository (what is on disk), the pool (an engine process for each loaded
version), the serving objects that answer and administer, and the wire that speaks gRPC and HTTP. Its life has three words:
`start`, `serve`, `drain`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from trine.config import Settings
from trine.errors import CheckpointNotFound, NotPossible, TrineError
from trine.front.serving.administration import Administration
from trine.front.serving.admission import Admission
from trine.front.serving.declared import Declared
from trine.front.serving.inference import Inference
from trine.front.serving.pool import Pool
from trine.front.serving.publisher import Publisher
from trine.front.serving.replica import Replica
from trine.front.serving.rollout import Rollout
from trine.front.serving.status import Status
from trine.front.serving.watchers import Watchers
from trine.front.wire.http import HttpPort
from trine.front.wire.server import GrpcServers
from trine.registry import references
from trine.registry.records import Record
from trine.registry.repository import Repository
from trine.telemetry import logs
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_YOUNG = 10_000
"""Objects between two runs of the garbage collector, which took 4 % of the server's time with Python's own 700."""


class App:
    """One server process. Everything runs on one uvloop event loop; nothing here blocks it."""

    def __init__(self, settings: Settings, config: Path | None = None) -> None:
        """`config` is the file that declares the checkpoints. Raises InvalidInput where it does not hold."""
        self.settings = settings
        self.metrics = Metrics()
        self.repository = Repository(settings.repository)
        self.status = Status(self.repository)
        self.pool = Pool(self.repository, settings, self.metrics, self._changed)
        self.status.attach(self.pool)
        self.admission = Admission(settings, self.metrics)
        self.inference = Inference(self.pool, self.admission, settings, self.metrics)
        self.rollout = Rollout(self.repository, self.pool, settings.load)
        self.publisher = Publisher(self.repository, self.pool, self.rollout, settings, self.metrics)
        self.watchers = Watchers(self.repository, self.pool)
        self.replica = Replica(self.repository, self.pool, self.rollout, self.watchers, settings)
        self.administration = Administration(
            self.repository, self.pool, self.publisher, self.rollout, self.watchers
        )
        self.declared = None if config is None else self._declared(config)
        self.grpc = GrpcServers(settings, self.inference, self.administration, self.status, self.metrics)
        self.http = HttpPort(settings, self.status, self.metrics)
        self.ports: dict[str, int] = {}
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, then load what was asked for; ready when each of it is live or has failed. Raises NotPossible."""
        grpc_port, admin_port = await self.grpc.start()
        self.ports = {"grpc": grpc_port, "http": await self.http.start(), "admin": admin_port}
        self._write_ports()
        logger.info("listening", extra={"ports": self.ports})
        self.replica.start()
        await self._load_what_is_asked_for()
        if self.declared is not None:
            self._following = asyncio.create_task(self.declared.watch(), name="follow the declaration")
        _tune_collector()
        self.status.set_ready(True)
        logger.info("ready", extra={"checkpoints": self.status.serving})

    async def serve(self) -> None:
        """Run until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()

    async def drain(self) -> None:
        """Say NOT_SERVING, wait for balancers to notice, refuse what comes, finish what runs, end the engines."""
        logger.info("draining")
        self.status.set_ready(False)
        self.grpc.enter_drain()
        await asyncio.sleep(self.settings.drain_delay)
        self.admission.draining = True
        if self._following is not None:
            self._following.cancel()
        self.publisher.cancel()
        self.watchers.drain()
        await self.grpc.stop(self.settings.drain_timeout)
        if self._following is not None:
            await asyncio.gather(self._following, return_exceptions=True)
        await self.rollout.close()
        await self.pool.close(grace=0.0)
        await self.replica.stop()
        await self.http.stop()
        logger.info("stopped")

    def _changed(self) -> None:
        """An engine or the repository is not as it was."""
        self.status.update()
        self.replica.update()

    def _declared(self, config: Path) -> Declared:
        return Declared(
            *(config, self.repository, self.pool, self.rollout, self.administration),
            *(self.settings, self.metrics),
        )

    async def _load_what_is_asked_for(self) -> None:
        """What is live on disk answers at once, also while what is declared anew is exported."""
        if self.declared is not None:
            loads = [self._load(name) for name in self.declared.names()]
            await asyncio.gather(*loads, self.declared.reconcile())
        elif self.settings.load == "live":
            await asyncio.gather(*(self._load(name) for name in self.repository.names()))

    async def _load(self, name: str) -> None:
        try:
            record: Record = self.repository.resolve(references.Reference(name))
        except CheckpointNotFound:
            return
        try:
            await self.pool.load(record)
        except TrineError as error:
            logger.error("could not load", extra={"version": record.reference, "reason": error.message})

    def _write_ports(self) -> None:
        path = self.settings.ports_file
        if path is not None:
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                temporary.write_text(json.dumps(self.ports))
                temporary.rename(path)
            except OSError as error:
                raise NotPossible(f"the ports cannot be written to {path}: {error.strerror}") from error


def _tune_collector() -> None:
    """What is there now lives as long as the process, and few requests leave cycles: the collector need not look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)


async def run(settings: Settings, config: Path | None = None) -> None:
    """A whole life: start, serve, drain. Raises NotPossible when it cannot start."""
    app = App(settings, config)
    stop = asyncio.create_task(app.serve())
    start = asyncio.create_task(app.start())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            await stop
    except TrineError as error:
        logger.error(error.message)
        raise
    finally:
        start.cancel()
        stop.cancel()
        await asyncio.gather(start, stop, return_exceptions=True)
        await app.drain()


def main(settings: Settings, config: Path | None = None) -> int:
    """Run a server until it is told to stop. Returns the exit status."""
    if settings.log_json is None:
        settings = settings.model_copy(update={"log_json": not sys.stderr.isatty()})
    logs.configure(settings.log_level, json=bool(settings.log_json))
    try:
        uvloop.run(run(settings, config))
    except TrineError:
        return 1
    return 0
