"""An artifact that somebody hands us, checked before it is published: as untrusted as a checkpoint. Front process, or one of its own.

Neither torch nor onnx nor tokenizers is needed. Check a copy that nobody else can write, never the folder that was handed over: what is
published has to be what was checked. Graphs and tokenizers are read by Python alone, a second for each megabyte, so a server has it done by
`python -I -m trine.registry.imported FOLDER`, which `check_apart` starts: its event loop goes on answering meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import stat
import sys
from pathlib import Path

import msgspec

from trine import artifact
from trine.artifact import FORMAT, MANIFEST, REPORT, Artifact, Manifest
from trine.errors import ArtifactCorrupt, TrineError, UnsafeCheckpoint, from_reason
from trine.registry.rules import documents, graphs, manifests, tokenizer_json
from trine.registry.rules.names import shown_file

MAX_FILES = 16
_MAX_MANIFEST = 16 << 20
_MAX_REPORT = 16 << 20
_MAX_TEMPLATE = 1 << 18
_TIMEOUT = 600.0
_ADDRESS_SPACE = 4 << 30


def check(folder: Path) -> Artifact:
    """The artifact in `folder`, opened, every hash compared. Blocking.

    Raises ArtifactCorrupt where files are missing or are not as the manifest says, UnsafeCheckpoint and NotACheckpoint for a file that
    breaks a rule, UnsupportedArchitecture. It has still to pass the self-test of an engine that loads it.
    """
    names = _plain_files(folder)
    manifest = _manifest(folder)
    manifests.check(manifest)
    _check_names(names, manifest)
    opened = artifact.open_artifact(folder)
    for name in sorted(names - {MANIFEST}):
        _check_file(folder / name)
    return opened


async def check_apart(folder: Path) -> Artifact:
    """As `check`, in a process with limits of its own. Raises ArtifactCorrupt, too, when that process dies or takes too long."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", __name__, os.fspath(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        line = await asyncio.wait_for(child.stdout.read(), _TIMEOUT)
    except TimeoutError:
        raise ArtifactCorrupt("the artifact takes too long to check") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
    try:
        verdict = json.loads(line)
    except ValueError:
        raise ArtifactCorrupt(
            "the artifact's check ended without a verdict: it needs more than it may use"
        ) from None
    if verdict["reason"]:
        raise from_reason(verdict["reason"], verdict["message"])
    return artifact.open_artifact(folder, check_hashes=False)


def _plain_files(folder: Path) -> frozenset[str]:
    """The names of the folder's files; all of them plain, none with a second name."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ArtifactCorrupt("the artifact's folder cannot be read") from error
    if len(entries) > MAX_FILES:
        raise UnsafeCheckpoint(f"the artifact has more than {MAX_FILES} files")
    for entry in entries:
        require_plain(entry.stat(follow_symlinks=False), entry.name)
    return frozenset(entry.name for entry in entries)


def require_plain(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise not_plain(name)
    if found.st_nlink != 1:
        raise UnsafeCheckpoint(f"{shown_file(name)} has a second name elsewhere (a hard link); copy it")


def not_plain(name: str) -> UnsafeCheckpoint:
    return UnsafeCheckpoint(f"{shown_file(name)} is no plain file: a link, a folder, a device or a pipe")


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactCorrupt(f"the folder has no {MANIFEST}: it is not an artifact")
    document = documents.read(path, _MAX_MANIFEST)
    if isinstance(document, dict) and document.get("format") != FORMAT:
        raise ArtifactCorrupt(f"the artifact has another format than {FORMAT}, which this server reads")
    try:
        return msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise ArtifactCorrupt(f"{MANIFEST} is not that of an artifact") from error


def _check_names(names: frozenset[str], manifest: Manifest) -> None:
    listed = manifest.files.keys()
    if odd := sorted(names - listed - {MANIFEST}):
        raise UnsafeCheckpoint(f"{MANIFEST} does not list {shown_file(odd[0])}, which the artifact holds")
    needed, beside = manifests.file_names(manifest)
    if missing := sorted(needed - listed):
        raise ArtifactCorrupt(f"the artifact lacks the file {missing[0]}")
    if odd := sorted(listed - needed - beside):
        raise UnsafeCheckpoint(f"{MANIFEST} lists {shown_file(odd[0])}, which such an artifact does not have")


def _check_file(path: Path) -> None:
    if path.name.endswith(".onnx"):
        graphs.check(path)
    elif path.name.endswith("tokenizer.json"):
        tokenizer_json.check(path)
    elif path.name == REPORT:
        if not isinstance(documents.read(path, _MAX_REPORT), dict):
            raise UnsafeCheckpoint(f"{REPORT} is not a JSON object")
    elif path.name.endswith(".json"):
        _check_special_tokens(path)
    elif path.name.endswith(".jinja") and path.stat().st_size > _MAX_TEMPLATE:
        raise UnsafeCheckpoint(f"{path.name} is larger than {_MAX_TEMPLATE >> 10} KiB")


def _check_special_tokens(path: Path) -> None:
    tokens = documents.read(path)
    if not isinstance(tokens, dict) or not all(_is_special(value) for value in tokens.values()):
        raise UnsafeCheckpoint(f"{path.name} is not a map of names to tokens")


def _is_special(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return len(values) <= 1 << 16 and all(isinstance(each, str) and len(each) <= 1024 for each in values)


def main() -> int:
    """Print a verdict: an error's reason and message, both empty where the artifact is good."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_TIMEOUT), int(_TIMEOUT)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    reason = message = ""
    try:
        check(Path(sys.argv[1]))
    except TrineError as error:
        reason, message = error.reason, error.message
    sys.stdout.write(json.dumps({"reason": reason, "message": message}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
