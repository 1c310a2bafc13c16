"""`trine serve` with the identity checkpoint, as the bench starts and watches it. The bench's process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import accounting
from bench.identity_checkpoint import NAME


class Server:
    """`trine serve` with its one engine, on free ports."""

    def __init__(self, folder: Path) -> None:
        self._ports_file = folder / "ports.json"
        self._ports_file.unlink(missing_ok=True)
        environment = os.environ | {
            "TRINE_REPOSITORY": str(folder / "repository"),
            "TRINE_PORTS_FILE": str(self._ports_file),
            **{f"TRINE_{port}_PORT": "0" for port in ("GRPC", "HTTP", "ADMIN")},
        }
        with (folder / "server.log").open("wb") as log:
            command = [sys.executable, "-m", "trine.cli", "serve"]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        while not self._ports_file.exists() or not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError("the server did not start; see server.log in the bench's folder")
            time.sleep(0.02)
        return self

    def _is_ready(self) -> bool:
        self._ports = json.loads(self._ports_file.read_text(encoding="utf-8"))
        try:
            return self._get("/readyz") == "ready"
        except OSError:
            return False

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._ports['grpc']}"

    def processor_seconds(self) -> tuple[float, float]:
        """Of the front, and of the engine."""
        (engine,) = [pid for pid in accounting.tree(self._process.pid) if pid != self._process.pid]
        both, own = (accounting.processor_seconds(pid) for pid in (self._process.pid, engine))
        return both - own, own

    def answered(self) -> int:
        """Requests to the checkpoint that ended well, a stream's inputs one by one. Raises RuntimeError where any did not."""
        pattern = rf'^trine_requests_total{{checkpoint="{NAME}",code="(\w+)",.*}} ([0-9.e+]+)$'
        counts = {code: float(count) for code, count in re.findall(pattern, self._get("/metrics"), re.M)}
        if counts.keys() - {"OK"}:
            raise RuntimeError(f"not all requests ended well: {counts}")
        return int(counts.get("OK", 0))

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['http']}{path}", timeout=10) as answer:
            page: bytes = answer.read()
            return page.decode()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
