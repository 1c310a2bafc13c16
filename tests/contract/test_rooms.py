"""The rooms: .importlinter is kept, and each library is imported only where it belongs."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]

LIBRARIES: dict[str, tuple[str, ...]] = {
    "aiohttp": ("front.wire",),
    "google": ("front.wire", "client", "v1"),
    "grpc": ("front.wire", "client", "v1"),
    "grpc_health": ("front.wire", "client"),
    "grpc_reflection": ("front.wire",),
    "grpc_status": ("front.wire", "client"),
    "huggingface_hub": ("registry.hub",),
    "jinja2": ("engine.text",),
    # The last three change records and manifests (structs.replace), and catch what does not decode.
    "msgspec": (
        *("frames", "artifact", "sampling", "registry"),
        *("front.serving.link", "front.serving.publisher", "export.recipe"),
    ),
    "numpy": ("engine", "export"),
    "onnx": ("export",),
    "onnxruntime": ("engine.runtime", "export.quantize"),
    "onnxscript": ("export",),
    "optimum": ("export",),
    "prometheus_client": ("telemetry",),
    "pydantic": ("config", "front.serving.declaration"),
    "pydantic_settings": ("config",),
    "rich": ("cli",),
    "safetensors": ("export",),
    "sentencepiece": ("export",),
    "structlog": ("telemetry",),
    "tokenizers": ("engine.text", "export"),
    "torch": ("export",),
    "transformers": ("export",),
    "typer": ("cli",),
    "uvloop": ("app",),
    "watchfiles": ("registry.watch",),
    "yaml": ("registry.lineage",),
}
"""Each library with the rooms that may import it."""

PARENT_SIDE = (
    "trine.export.plan",
    "trine.export.folder",
    "trine.export.sentence_transformer",
    "trine.export.launcher",
)
"""What of the export room runs in the server process."""


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("trine", include_external_packages=True, cache_dir=None)


def libraries() -> list[str]:
    """Every library that some module imports."""
    outside = {name for name in graph().modules if name.partition(".")[0] != "trine"}
    return sorted(name for name in outside if name not in sys.stdlib_module_names)


def test_imports_point_downward() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("library", libraries())
def test_a_library_stays_in_its_rooms(library: str) -> None:
    assert library in LIBRARIES, "a new library needs a room"
    importers = graph().find_modules_that_directly_import(library)
    inside = tuple(f"trine.{room}." for room in LIBRARIES[library])
    strangers = {name for name in importers if not f"{name}.".startswith(inside)}
    assert strangers == set()


def test_the_server_process_reaches_nothing_of_the_export_process() -> None:
    """The launcher starts it with a command line; an import would bring PyTorch into the server."""
    for parent in ("trine.app", *PARENT_SIDE):
        reached = graph().find_upstream_modules(parent)
        inside = {name for name in reached if name.startswith("trine.export.")} - set(PARENT_SIDE)
        assert inside == set(), parent
        assert reached.isdisjoint({"torch", "transformers", "optimum", "onnx", "numpy", "onnxruntime"}), (
            parent
        )
