"""The composition root: settings in, a running server out. READ THIS FIRST.

A server is four rooms put together here: the repository (what is on disk), the pool (an engine process for each loaded
version), the serving objects that answer and administer, and the wire that speaks gRPC and HTTP. Its life has three words:
`start`, `serve`, `drain`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

import uvloop

from trine.config import Settings
from trine.errors import CheckpointNotFound, NotPossible, TrineError
from trine.front.serving.administration import Administration
from trine.front.serving.admission import Admission
from trine.front.serving.inference import Inference
from trine.front.serving.pool import Pool
from trine.front.serving.publisher import Publisher
from trine.front.serving.status import Status
from trine.front.wire.http import HttpPort
from trine.front.wire.server import GrpcServers
from trine.registry import references
from trine.registry.records import Record
from trine.registry.repository import Repository
from trine.telemetry import logs
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)


class App:
    """One server process. Everything runs on one uvloop event loop; nothing here blocks it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.repository = Repository(settings.repository)
        self.status = Status(self.repository)
        self.pool = Pool(self.repository, settings, self.metrics, self.status.update)
        self.status.attach(self.pool)
        self.admission = Admission(settings, self.metrics)
        self.inference = Inference(self.repository, self.pool, self.admission, settings, self.metrics)
        self.publisher = Publisher(self.repository, self.pool, settings, self.metrics)
        self.administration = Administration(self.repository, self.pool, self.publisher)
        self.grpc = GrpcServers(settings, self.inference, self.administration, self.status, self.metrics)
        self.http = HttpPort(settings, self.status, self.metrics)
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Listen, then load what was asked for; ready when each of it is live or has failed. Raises NotPossible."""
        grpc_port, admin_port = await self.grpc.start()
        self.ports = {"grpc": grpc_port, "http": await self.http.start(), "admin": admin_port}
        self._write_ports()
        logger.info("listening", extra={"ports": self.ports})
        if self.settings.load == "live":
            await asyncio.gather(*(self._load(name) for name in self.repository.names()))
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
        self.publisher.cancel()
        await self.grpc.stop(self.settings.drain_timeout)
        await self.pool.close(grace=0.0)
        await self.http.stop()
        logger.info("stopped")

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


async def run(settings: Settings) -> None:
    """A whole life: start, serve, drain. Raises NotPossible when it cannot start."""
    app = App(settings)
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


def main(settings: Settings) -> int:
    """Run a server until it is told to stop. Returns the exit status."""
    if settings.log_json is None:
        settings = settings.model_copy(update={"log_json": not sys.stderr.isatty()})
    logs.configure(settings.log_level, json=bool(settings.log_json))
    try:
        uvloop.run(run(settings))
    except TrineError:
        return 1
    return 0
