"""What a fresh interpreter loads: a server without PyTorch, a client without a server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json, sys, time
began = time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - began, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""

EXPORT = {"torch", "transformers", "optimum", "onnx", "onnxscript", "safetensors", "sentencepiece"}
ENGINE = {"numpy", "onnxruntime", "tokenizers"}
SERVER = {"aiohttp", "pydantic", "pydantic_settings", "prometheus_client", "structlog", "uvloop"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("trine.app", EXPORT | ENGINE),
        ("trine.cli.main", EXPORT | ENGINE | SERVER),
        ("trine.client", EXPORT | ENGINE | SERVER | {"typer", "rich"}),
        ("trine.export.launcher", EXPORT | ENGINE),
        ("trine.engine.main", EXPORT | SERVER - {"structlog"} | {"grpc"}),
    ],
)
def test_an_import_loads_only_what_its_process_needs(module: str, unwanted: set[str]) -> None:
    command = [sys.executable, "-c", _PROGRAM.format(module=module)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    seconds, loaded = json.loads(run.stdout)
    sys.stdout.write(f"import {module}: {seconds:.3f} s\n")  # shown by pytest -rP; bench/ holds the floor
    assert set(loaded) & unwanted == set()
