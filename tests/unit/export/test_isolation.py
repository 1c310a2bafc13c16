"""What an export process may not do, tried in processes that have given it up."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trine.export import isolation

PROGRAM = """
import importlib.util, json, os, pickle, resource, signal, socket, subprocess, sys
from pathlib import Path
from trine.artifact import Precision
from trine.export import isolation
from trine.export.plan import CheckpointInfo, ExportPlan

port, mode = int(sys.argv[1]), sys.argv[2]
plan = ExportPlan(Path.cwd(), Path.cwd(), timeout=100, threads=1)
if mode == "hook":
    isolation._new_namespaces = lambda: False
if mode == "namespace":
    sys.addaudithook = lambda hook: None
limits = isolation.limit_first(plan)
held = isolation.leave_the_network()

class Big(CheckpointInfo):
    pass

limits |= isolation.limit_for(plan, CheckpointInfo("A", "f", "t", weight_bytes=1000, digest=""))
opened = socket.socket()

def grow():
    with open("big", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 2 << 30)
        return os.fstat(file.fileno()).st_size

def descriptors():
    return len([open("/dev/null") for _ in range(2000)])

attempts = {
    "connect": lambda: opened.connect(("127.0.0.1", port)),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
    "bind": lambda: socket.socket().bind(("127.0.0.1", 0)),
    "send": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
    "run": lambda: subprocess.run(["true"]),
    "system": lambda: os.system("true"),
    "fork": lambda: os.fork() or os._exit(0),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "unpickle": lambda: pickle.loads(b"cos\\ngetcwd\\n(tR."),
    "kernels": lambda: __import__("kernels"),
    "memory": lambda: bytearray(100 << 30),
    "file": grow,
    "descriptors": descriptors,
}
done = {}
for name, attempt in attempts.items():
    try:
        attempt()
        done[name] = "done"
    except BaseException as error:
        done[name] = type(error).__name__
print(json.dumps({
    "held": held, "limits": limits, "done": done, "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "spec": importlib.util.find_spec("kernels") is None, "user": os.getuid(),
}))
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def attempt(mode: str, port: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-I", "-c", PROGRAM, str(port), mode]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module", params=["both", "hook"])
def tried(
    request: pytest.FixtureRequest, port: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return attempt(request.param, port, tmp_path_factory.mktemp("isolation")) | {"mode": request.param}


@pytest.mark.parametrize(
    "what", ["connect", "resolve", "bind", "send", "run", "system", "fork", "spawn", "unpickle"]
)
def test_python_itself_refuses(tried: dict[str, Any], what: str) -> None:
    assert tried["done"][what] == "PermissionError"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("memory", "MemoryError"),
        ("file", "OSError"),
        ("descriptors", "OSError"),
        ("kernels", "ModuleNotFoundError"),
    ],
)
def test_there_is_a_limit(tried: dict[str, Any], what: str, error: str) -> None:
    assert tried["done"][what] == error


def test_the_report_says_what_held(tried: dict[str, Any]) -> None:
    if tried["mode"] == "hook":
        assert tried["held"] == isolation.AUDIT_HOOK
    assert tried["limits"] == {
        "address_space_bytes": (8 << 30) + 6000,
        "descriptors": 1024,
        "file_bytes": (1 << 30) + 4000,
        "processor_seconds": 160,
        "wall_seconds": 100,
    }
    assert tried["core"] == 0
    assert tried["spec"]


def test_a_namespace_alone_has_no_network(port: int, tmp_path: Path) -> None:
    """Without the hook, so that the kernel is asked."""
    found = attempt("namespace", port, tmp_path)
    if found["held"] != isolation.NAMESPACE:
        pytest.skip("this kernel allows no user namespace")
    assert found["done"]["connect"] == "OSError"
    assert found["done"]["run"] == "done"
