"""`trine serve` with the identity checkpoint, as the bench watches it. The bench's process."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from typing import Self

from bench import accounting
from bench.identity_checkpoint import NAME
from bench.served import Process


class Server(Process):
    """A server with its one engine, both at their defaults, that is ready."""

    def __init__(self, folder: Path) -> None:
        super().__init__("server", folder, {"repository": folder / "repository"})

    def __enter__(self) -> Self:
        super().__enter__()
        self._wait_until(self._is_ready)
        return self

    def _is_ready(self) -> bool:
        try:
            return self._get("/readyz") == "ready"
        except OSError:
            return False

    def processor_seconds(self) -> tuple[float, float]:
        """Of the front, and of the engine."""
        (engine,) = [pid for pid in accounting.tree(self.process.pid) if pid != self.process.pid]
        both, own = (accounting.processor_seconds(pid) for pid in (self.process.pid, engine))
        return both - own, own

    def answered(self) -> int:
        """Requests to the checkpoint that ended well, a stream's inputs one by one. Raises RuntimeError where any did not."""
        pattern = rf'^trine_requests_total{{checkpoint="{NAME}",code="(\w+)",.*}} ([0-9.e+]+)$'
        counts = {code: float(count) for code, count in re.findall(pattern, self._get("/metrics"), re.M)}
        if counts.keys() - {"OK"}:
            raise RuntimeError(f"not all requests ended well: {counts}")
        return int(counts.get("OK", 0))

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            page: bytes = answer.read()
            return page.decode()
