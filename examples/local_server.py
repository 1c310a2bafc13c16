"""A Trine server of one's own: a child process on free ports, ready when the block begins, stopped when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_LISTEN = 60.0
SECONDS_TO_BE_READY = 180.0
SECONDS_TO_STOP = 60.0


class Failed(Exception):
    """The message is for the person at the terminal."""


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    grpc: str
    admin: str
    http: str

    def page(self, path: str) -> str:
        """A page of the HTTP port. Raises OSError while it is not 200."""
        with urllib.request.urlopen(f"{self.http}{path}", timeout=10) as response:
            return str(response.read().decode())


def repository() -> Path:
    return Path(os.environ.get("TRINE_REPOSITORY") or ROOT / "var" / "repository").resolve()


@contextmanager
def server(folder: Path, log: Path) -> Iterator[Server]:
    """A ready server; stopped with SIGTERM however the block is left."""
    ports_file = folder / "ports.json"
    environment = os.environ | {
        "TRINE_REPOSITORY": str(repository()),
        "TRINE_IMPORT_ROOT": str(ROOT),
        "TRINE_GRPC_PORT": "0",
        "TRINE_HTTP_PORT": "0",
        "TRINE_ADMIN_PORT": "0",
        "TRINE_HOST": "127.0.0.1",
        "TRINE_ADMIN_HOST": "127.0.0.1",
        "TRINE_PORTS_FILE": str(ports_file),
    }
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the server in good order.
        process = subprocess.Popen(
            [sys.executable, "-m", "trine.cli", "serve"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield wait_until_ready(process, ports_file)
    finally:
        stop(process)


def wait_until_ready(process: subprocess.Popen[bytes], ports_file: Path) -> Server:
    wait(process, ports_file.is_file, SECONDS_TO_LISTEN, "listen")
    ports = json.loads(ports_file.read_text())
    running = Server(
        process,
        grpc=f"127.0.0.1:{ports['grpc']}",
        admin=f"127.0.0.1:{ports['admin']}",
        http=f"http://127.0.0.1:{ports['http']}",
    )
    wait(process, lambda: answers(running, "/readyz"), SECONDS_TO_BE_READY, "become ready")
    return running


def wait(process: subprocess.Popen[bytes], done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if process.poll() is not None:
            raise Failed(f"the server ended with status {process.returncode} before it could {what}")
        if time.monotonic() > deadline:
            raise Failed(f"the server did not {what} within {seconds:.0f} s")
        time.sleep(0.05)


def answers(running: Server, path: str) -> bool:
    try:
        running.page(path)
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        status = process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failed("the server did not stop after SIGTERM and was killed") from None
    if status != 0 and sys.exc_info()[0] is None:
        raise Failed(f"the server ended with status {status}")
