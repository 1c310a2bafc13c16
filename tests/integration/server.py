"""A real server in a process of its own, on free ports, for tests to call, watch and break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from trine.client import Client

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "examples" / "checkpoints"


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


class Server:
    """`trine serve` with its log in a file. Ends with the context at the latest. `wrapper` is a command that becomes it in the end."""

    def __init__(
        self, folder: Path, repository: Path, *, wrapper: Sequence[str] = (), **settings: object
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log.jsonl"
        self._ports_file = folder / "ports.json"
        self._ports_file.unlink(missing_ok=True)
        environment = os.environ | {
            "TRINE_REPOSITORY": str(repository),
            "TRINE_IMPORT_ROOT": str(settings.pop("import_root", ROOT)),
            "TRINE_GRPC_PORT": "0",
            "TRINE_HTTP_PORT": "0",
            "TRINE_ADMIN_PORT": "0",
            "TRINE_PORTS_FILE": str(self._ports_file),
            **{f"TRINE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "trine.cli", "serve"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.ports = self._wait_for_ports()

    def _wait_for_ports(self) -> dict[str, int]:
        for _ in range(3000):
            if self._ports_file.exists():
                ports: dict[str, int] = json.loads(self._ports_file.read_text())
                return ports
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the server did not start:\n{self.log.read_text()}")

    def client(self, timeout: float = 60.0) -> Client:
        return Client(self.target, self.admin_target, timeout=timeout)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    @property
    def admin_target(self) -> str:
        return f"127.0.0.1:{self.ports['admin']}"

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of the HTTP port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.http("/readyz")[0] == 200:
                return
            time.sleep(0.01)
        raise AssertionError(f"not ready after {seconds} s:\n{self.log.read_text()}")

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series, 0 where there is none yet."""
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(self.http("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    def engines(self) -> dict[str, int]:
        """Process ids of the engines by the version whose artifact they hold, as "name:number"."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                command = (folder / "cmdline").read_bytes().decode().split("\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, UnicodeDecodeError):
                continue
            if "trine.engine.main" in command and parent == self.process.pid:
                artifact = Path(command[command.index("--artifact") + 1])
                found[f"{artifact.parent.parent.name}:{artifact.parent.name}"] = int(folder.name)
        return found

    def records(self) -> list[dict[str, Any]]:
        """The log, line by line; every line has to be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal and wait. Returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop(seconds=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
