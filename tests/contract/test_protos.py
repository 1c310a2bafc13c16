"""The protos lint clean, and the committed stubs are what they generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor

from trine.v1 import checkpoint_pb2, inference_pb2

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos/trine/v1").glob("*.proto"))
STUBS = ROOT / "service/trine/v1"
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_finds_nothing() -> None:
    run(BIN / "buf", "lint")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    plugins = [f"--plugin={name}={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    names = [path.relative_to(ROOT / "protos") for path in PROTOS]
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "protos", *plugins, *outs, *names)
    return folder / "trine/v1"


def test_the_committed_stubs_are_the_generated_ones(generated: Path) -> None:
    fresh = {path.name: path.read_text() for path in generated.iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.glob("*_pb2*")}
    assert sorted(fresh) == sorted(committed)
    assert len(fresh) == 4 * len(PROTOS)
    for name, text in fresh.items():
        assert text == committed[name], f"{name} differs from what its proto generates: run `make protos`"


@pytest.mark.parametrize("file", [inference_pb2.DESCRIPTOR, checkpoint_pb2.DESCRIPTOR])
def test_package_and_folder_agree(file: FileDescriptor) -> None:
    assert file.package == "trine.v1"
    assert file.name.startswith("trine/v1/")


def test_each_rpc_has_a_request_and_a_response_of_its_own() -> None:
    methods = [
        method
        for file in (inference_pb2.DESCRIPTOR, checkpoint_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    ]
    assert len(methods) == 24
    for method in methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.output_type.name == f"{method.name}Response"
