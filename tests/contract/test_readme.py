"""The README tells the truth: its table of settings, its RPCs, its example, its links and its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from trine.cli.main import app
from trine.config import Settings
from trine.v1 import checkpoint_pb2, inference_pb2

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def default_of(name: str) -> str:
    """The default as the table writes it."""
    default = Settings.model_fields[name].default
    if name == "import_root":
        return "the current folder"
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_the_table_of_settings_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `TRINE_(\w+)` \| (.*?) ?\| .+ \|$", README, re.MULTILINE)
    assert rows == [(name.upper(), default_of(name)) for name in Settings.model_fields]


def test_every_rpc_is_listed() -> None:
    for module, service in ((inference_pb2, "InferenceService"), (checkpoint_pb2, "CheckpointService")):
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            assert f"| `{method.name}` |" in README


def test_the_example_is_the_file() -> None:
    _, _, program = (ROOT / "examples" / "clients" / "quickstart.py").read_text().partition('"""\n\n')
    assert f"```python\n{program}```" in README


def test_the_commands_exist() -> None:
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    shown = set(re.findall(r"(?:^|`)trine ([a-z]+)", README, re.MULTILINE))
    assert {"register", "classify", "generate", "translate", "list", "show"} <= shown <= known
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_stands_alone(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link:
            assert (document.parent / link).exists(), link
    assert not re.search(r"\.\./shared|/(?:work|root|home)/|DESIGN", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_of_the_source_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:service|tests|examples|protos|docs)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:front|engine|export|registry|telemetry|client|cli)/[\w./]+\.py)`", text):
        assert (ROOT / "service" / "trine" / path).exists(), path
