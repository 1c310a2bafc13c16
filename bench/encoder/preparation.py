"""Makes what the bench of encoders needs under its folder, each thing where it is missing. The bench's process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import openvino_setup, optimum_setup
from bench.encoder.options import EncoderOptions
from bench.preparation import tell
from bench.shapes import SHAPES, Shape
from trine.artifact import Precision
from trine.export.plan import Gate, inspect
from trine.registry.repository import Repository


def prepare(name: str, options: EncoderOptions) -> None:
    """Make and export the checkpoint; what the peers need is made when it is asked for."""
    shape = SHAPES[name]
    if options.again or not _published(shape, options.folder):
        tell(f"preparing {shape.name} under {options.folder}")
        again = ["again"] if options.again else []
        _python(options.folder, "bench.encoder.checkpoints", shape.name, str(options.folder), *again)


def _published(shape: Shape, folder: Path) -> bool:
    """Whether there is nothing to export; asked here, since the exporter's libraries take seconds to load."""
    checkpoint = folder / shape.name / "checkpoint"
    if not checkpoint.exists():
        return False
    digest = inspect(checkpoint, None, Precision.FP32, Gate.REPORT).digest
    repository = Repository(folder / "repository")
    return all(repository.find(f"{shape.name}-{precision}", digest) for precision in ("fp32", "int8"))


def padded_graphs(shape: Shape, options: EncoderOptions) -> Path:
    """optimum's export, fused and in int8. Raises CalledProcessError where optimum-onnx cannot be installed or does not export."""
    home = options.folder / shape.name
    target = home / "padded"
    if not target.exists():
        python = optimum_setup.environment(options.folder)
        source = optimum_setup.export(python, home / "checkpoint", home / "optimum", shape.architecture, tell)
        measures = str(shape.heads), str(shape.width)
        _python(options.folder, "bench.encoder.graphs", str(source), str(target), *measures)
    return target


def openvino(options: EncoderOptions) -> Path:
    """OpenVINO's Python. Raises CalledProcessError."""
    return openvino_setup.environment(options.folder)


def _python(folder: Path, module: str, *arguments: str) -> None:
    with (folder / "prepare.log").open("a") as log:
        command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
        subprocess.run(command, check=True, stdout=log, stderr=log)
