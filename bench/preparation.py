"""Makes what the bench needs under its folder, each thing where it is missing, each in a process of its own. The bench's process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench import ctranslate2_setup, optimum_setup
from bench.options import Common, Options
from bench.shapes import SHAPES, Shape, Vocabulary


def prepare(name: str, options: Options, peers: bool = True) -> Shape:
    """Make and export the checkpoint; with `peers` also convert it for CTranslate2."""
    shape = SHAPES[name]
    tell(f"preparing {shape.name} under {options.folder}")
    command = [sys.executable, "-W", "ignore", "-m", "bench.checkpoints", shape.name, str(options.folder)]
    with (options.folder / "prepare.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    if peers:
        for compute_type in ("float32", "int8"):
            ctranslate2(shape, options, compute_type)
    return shape


def ctranslate2(shape: Shape, options: Common, compute_type: str) -> Path:
    """The checkpoint in CTranslate2's format. Raises CalledProcessError."""
    python = ctranslate2_setup.environment(options.folder)
    home = options.folder / shape.name
    target = home / f"ctranslate2-{compute_type}"
    return ctranslate2_setup.convert(python, home / "checkpoint", target, compute_type, tell)


def optimum_graphs(shape: Shape, options: Options) -> str | None:
    """Export with optimum-onnx; answers why that cannot be, or None."""
    home = options.folder / shape.name
    try:
        python = optimum_setup.environment(options.folder)
        optimum_setup.export(python, home / "checkpoint", home / "optimum", shape.architecture, tell)
    except subprocess.CalledProcessError as error:
        return f"optimum-onnx could not be installed or did not export: {why(error)}"
    return None


def why(error: subprocess.CalledProcessError) -> str:
    """The last line that the process wrote, as far as that was kept."""
    lines = (error.stderr or b"").decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else str(error)


def vocabulary(shape: Shape, options: Common) -> Vocabulary:
    path = options.folder / shape.name / "checkpoint" / "words.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    words = {int(token): word for token, word in data["words"].items()}
    return Vocabulary(words, data["end_ids"], data.get("begin_ids", []))


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
