"""One engine process under supervision: start, watch, restart with back-off, stop. Front process, event loop only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trine import frames
from trine.config import Settings, available_cores, memory_limit
from trine.errors import EngineLost, NotLive, TrineError
from trine.front.serving.link import Link, Mailbox
from trine.front.serving.room import Room
from trine.front.serving.views import EngineState, EngineView
from trine.front.serving.whole import whole
from trine.registry.records import Record
from trine.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0
_STABLE_AFTER = 60.0
"""Seconds after which an engine counts as healthy again and the pause before its next restart starts small."""
_MEASURE_EVERY = 10.0
"""Seconds between two measurements of an engine's memory, each 2 to 10 ms of a thread."""


def engine_command(artifact_folder: Path, settings: Settings) -> list[str]:
    """How an engine process is started; `Link.open` appends its end of the socket."""
    cache = settings.engine_cache_bytes or min(memory_limit() // 4, 1 << 30)
    return [
        *(sys.executable, "-m", "trine.engine.main"),
        *("--artifact", str(artifact_folder)),
        *("--provider", settings.provider),
        *("--device-id", str(settings.device_id)),
        *("--threads", str(settings.engine_threads or available_cores())),
        *("--cache-bytes", str(cache)),
        *("--max-slots", str(settings.engine_max_slots)),
        *("--prefix-cache-bytes", str(settings.engine_prefix_cache_bytes)),
        *("--batch-tokens", str(settings.engine_batch_tokens)),
        *("--max-batch-ms", str(settings.engine_max_batch_ms)),
        *("--log-level", settings.log_level),
        *(("--log-json",) if settings.log_json else ()),
    ]


def resident_bytes(process: int) -> int:
    """Proportional set size of a process: what is its own, and its part of the pages that it shares. 0 when it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss:", "SwapPss:")))


class EngineHandle:
    """The engine of one version in this server."""

    def __init__(
        self,
        record: Record,
        artifact_folder: Path,
        settings: Settings,
        metrics: Metrics,
        changed: Callable[[], None],
        expected_bytes: int = 0,
    ) -> None:
        self.record = record
        self._folder = artifact_folder
        self._settings = settings
        self._metrics = metrics
        self._changed = changed
        self._link: Link | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._leases = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.state = EngineState.UNLOADED
        self.reason = ""
        self.load_seconds: float | None = None
        self.restarts = 0
        self.expected_bytes = expected_bytes
        """What it will take, or what it took when it was last measured."""
        self.resident_bytes = 0
        """What it takes, as last measured; 0 while there is no process."""
        self.last_used = time.monotonic()

    @property
    def view(self) -> EngineView:
        return EngineView(self.state, self.reason, self.load_seconds, self.restarts, self.resident_bytes)

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process is not None else None

    # --- requests ----------------------------------------------------------------------------------------------------

    @property
    def room(self) -> Room | None:
        """Where requests that can wait do so; None while the engine is away, as `submit` says."""
        return None if self._link is None else self._link.room

    def submit(self, build: Callable[[int], frames.Submit], mailbox: Mailbox) -> int:
        """The request's id. Raises NotLive, EngineLost or Overloaded, each with a time after which to try again."""
        try:
            if self._link is None or self.state is not EngineState.LIVE:
                raise NotLive(f"{self.record.reference} is {self.state}")
            return self._link.submit(build, mailbox)
        except TrineError as error:
            error.retry_after = self._settings.retry_after
            raise

    def cancel(self, number: int, of: Mailbox) -> None:
        """Let go of a request. The mailbox tells apart ids of an engine that died since."""
        if self._link is not None:
            self._link.cancel(number, of)

    @property
    def is_idle(self) -> bool:
        return not self._leases

    def hold(self) -> None:
        """Until `let_go` is called as often, `stop` waits (for at most its grace)."""
        self._leases += 1
        self._idle.clear()

    def let_go(self) -> None:
        self._leases -= 1
        self.last_used = time.monotonic()
        if not self._leases:
            self._idle.set()

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process and wait until it is live. Raises what kept it from loading; no process is left then."""
        self._move(EngineState.LOADING)
        try:
            await self._launch()
        except BaseException as error:
            try:
                await self._end_process()
            finally:
                self._move(EngineState.UNLOADED, str(error) if isinstance(error, TrineError) else "")
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name=f"engine {self.record.reference}")

    def refuse(self) -> None:
        """Take no further request: `stop` is about to be called."""
        self._move(EngineState.UNLOADING)

    async def stop(self, grace: float) -> None:
        """Refuse what comes, let what runs finish for at most `grace` seconds, end the process."""
        self.refuse()
        if (
            self._supervisor is not None
        ):  # first of all, or it would start again an engine that dies meanwhile
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace)
        await self._end_process()
        self._move(EngineState.UNLOADED)

    async def _launch(self) -> None:
        link, self._process = await Link.open(
            engine_command(self._folder, self._settings), self._settings.engine_window, self._observe
        )
        self._link = link
        try:
            async with asyncio.timeout(self._settings.engine_load_timeout):
                ready = await link.ready
        except TimeoutError:
            raise EngineLost("the engine took too long to load") from None
        self.load_seconds = ready.load_seconds
        self._metrics.engine_loaded(self.record.checkpoint, str(self.record.number), ready.load_seconds)
        await self.measure()
        self.last_used = time.monotonic()
        self._move(EngineState.LIVE)

    async def measure(self) -> None:
        """Read how much memory the process takes."""
        process = self._process
        if process is None:
            return
        measured = await asyncio.to_thread(resident_bytes, process.pid)
        if measured and self._process is process:  # not reaped, so the number was its own
            self.resident_bytes = self.expected_bytes = measured
            self._metrics.engine_resident(self.record.checkpoint, str(self.record.number), measured)

    async def _supervise(self) -> None:
        """Watch the live engine for ever; when it ends, start it again after a pause that doubles while it keeps dying."""
        pause = self._settings.engine_restart_pause
        while True:
            began = time.monotonic()
            await self._watch()
            if time.monotonic() - began > _STABLE_AFTER:
                pause = self._settings.engine_restart_pause
            self._move(EngineState.RESTARTING, "the engine ended")
            await self._end_process()
            while self.state is not EngineState.LIVE:
                logger.warning("engine %s ended; starting it again in %.2f s", self.record.reference, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self.restarts += 1
                self._metrics.restarted(self.record.checkpoint, str(self.record.number))
                await self._relaunch()

    async def _relaunch(self) -> None:
        try:
            await self._launch()
        except TrineError as error:
            await self._end_process()
            self._move(EngineState.RESTARTING, error.message)

    async def _watch(self) -> None:
        """Return when the engine is lost. One that stops answering pings gives no EOF, so it is killed.

        Its silence is counted in periods that this process watched: time in which the server itself was frozen tells nothing.
        """
        link = self._link
        assert link is not None
        period = min(1.0, self._settings.engine_stall_timeout / 4)
        heard, silence, checked = link.last_pong, 0.0, time.monotonic()
        measured = checked
        while not link.lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.lost.wait(), period)
            now = time.monotonic()
            silence = silence + min(now - checked, 2 * period) if link.last_pong == heard else 0.0
            heard, checked = link.last_pong, now
            if silence > self._settings.engine_stall_timeout:
                logger.error("engine %s makes no progress; killing it", self.record.reference)
                self._kill()
                await link.lost.wait()
            elif not link.lost.is_set():
                link.ping()
                if now - measured > _MEASURE_EVERY:
                    measured = now
                    await self.measure()

    async def _end_process(self) -> None:
        """End the process whatever it does, and reap it; a caller who is cancelled meanwhile leaves none behind."""
        link, process, self._link, self._process = self._link, self._process, None, None
        self.resident_bytes = 0
        if process is None:
            return
        try:
            if link is not None and not link.lost.is_set():
                link.stop()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(link.lost.wait(), 1.0)
        finally:
            process.kill()
            if link is not None:
                link.abort()
            await whole(asyncio.to_thread(process.wait))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _observe(self, observed: frames.Observed) -> None:
        self._metrics.observe(self.record.checkpoint, str(self.record.number), observed)

    def _move(self, state: EngineState, reason: str = "") -> None:
        self.state, self.reason = state, reason
        if state is not EngineState.UNLOADED:
            self._metrics.engine_state(self.record.checkpoint, str(self.record.number), state)
        self._changed()
