"""A repository of the hub becomes a folder of plain files. Front process; all of it blocks, for a thread.

Under the cache lies, for each repository, a folder NAME with COMMIT/ (its files), COMMIT.json (their sizes, written when all are
there) and revisions.json (what commit a branch or tag meant last). A file that is not whole ends in `.part`, and goes on from there. Only
the endpoint of the settings is asked, and where it redirects to, as the public hub does for large files: by plain HTTP, never by xet.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from huggingface_hub import HfApi, constants, errors, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars  # type: ignore[attr-defined]

from trine import artifact
from trine.errors import CheckpointNotFound, Draining, InvalidInput, NotACheckpoint, NotPossible, TryLater
from trine.registry import layout
from trine.registry.lock import Lock
from trine.registry.source import Hub

logger = logging.getLogger(__name__)

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors", re.ASCII)
_ALLOWED = re.compile(
    r"(generation_)?config\.json|tokenizer[\w-]*\.(json|model|txt)|(target_)?vocab[\w-]*\.(json|txt)|merges\.txt"
    r"|[\w-]+\.spm|spiece\.model|sentencepiece\.bpe\.model|special_tokens_map\.json|added_tokens\.json"
    r"|chat_template\.jinja|model\.safetensors\.index\.json|modules\.json|sentence_bert_config\.json"
    r"|1_Pooling/config\.json|README\.md",
    re.ASCII,
)
_TIMEOUT = 20.0
_WAIT = 0.2
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository at one commit: what of it is fetched."""

    repo_id: str
    commit: str
    folder: Path
    sizes: dict[str, int]
    """Bytes by file name."""
    hashes: dict[str, str]
    """SHA-256 by file name, where the hub tells it: of large files."""

    @property
    def missing(self) -> int:
        """Bytes that are still to be fetched."""
        return sum(size - _have(self.folder / name) for name, size in self.sizes.items())


class Fetch:
    """One fetch. `cancel` may come from any thread, and ends it at its next piece."""

    def __init__(self, endpoint: str, token_file: Path | None, cache: Path) -> None:
        """Raises NotPossible without an endpoint, and where the token cannot be read."""
        if not endpoint:
            raise NotPossible("no hub is configured", field="hub")
        _settle_library()
        self._endpoint = endpoint.rstrip("/")
        self._token = _token(token_file)
        self._cache = cache
        self._cancelled = threading.Event()
        self.done = 0
        """Bytes of the snapshot that are there."""

    def cancel(self) -> None:
        self._cancelled.set()

    def resolve(self, source: Hub) -> Snapshot:
        """What the revision is now; what it was last where the hub does not answer.

        Raises InvalidInput, CheckpointNotFound, NotACheckpoint without safetensors, TryLater.
        """
        if not _REPOSITORY.fullmatch(source.repo_id) or ".." in source.repo_id:
            raise InvalidInput("repo_id is owner/name or name", field="hub.repo_id")
        if not _REVISION.fullmatch(source.revision) or ".." in source.revision:
            raise InvalidInput("the revision is a branch, a tag or a commit", field="hub.revision")
        home = self._cache / source.repo_id.replace("/", "--")
        known = _known(home, source)
        if known is not None and known.commit == source.revision:
            return known
        try:
            with _asking(source):
                api = HfApi(endpoint=self._endpoint, token=self._token)
                info = api.model_info(
                    source.repo_id, revision=source.revision, files_metadata=True, timeout=_TIMEOUT
                )
        except TryLater:
            if known is None:
                raise
            logger.warning("the hub does not answer: what was fetched before is used")
            return known
        return _snapshot(home, source, info.sha, info.siblings or [])

    def download(self, source: Hub, snapshot: Snapshot) -> None:
        """Fetch what is missing. Raises TryLater, RepositoryFull, and Draining when it is cancelled."""
        home = snapshot.folder.parent
        with layout.writing():
            snapshot.folder.mkdir(parents=True, exist_ok=True)
            with self._alone(home):
                self.done = sum(snapshot.sizes.values()) - snapshot.missing
                for name in snapshot.sizes:
                    self._download(source, snapshot, name)
                layout.replace(home / f"{snapshot.commit}.json", msgspec.json.encode(snapshot.sizes))
                revisions = _revisions(home) | {source.revision: snapshot.commit}
                layout.replace(home / "revisions.json", msgspec.json.encode(revisions))

    def _download(self, source: Hub, snapshot: Snapshot, name: str) -> None:
        target, size = snapshot.folder / name, snapshot.sizes[name]
        if target.is_file():
            return
        target.parent.mkdir(exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        if _have(target) > size:
            part.unlink()
        with _Part(part, self) as file, _asking(source):
            url = hf_hub_url(source.repo_id, name, revision=snapshot.commit, endpoint=self._endpoint)
            http_get(
                url,
                cast(BinaryIO, file),
                resume_size=file.tell(),
                headers=build_hf_headers(token=self._token),
                expected_size=size,
            )
        if snapshot.hashes.get(name) not in {None, artifact.sha256(part)}:
            part.unlink()
            raise TryLater("the hub's file is not what it said", retry_after=_TIMEOUT)
        part.rename(target)

    def received(self, count: int) -> None:
        if self._cancelled.is_set():
            raise Draining("the registration was cancelled")
        self.done += count

    @contextmanager
    def _alone(self, home: Path) -> Iterator[None]:
        """Two registrations of one repository fetch it one after the other."""
        lock = Lock(home)
        while not lock.take():
            if self._cancelled.wait(_WAIT):
                raise Draining("the registration was cancelled")
        try:
            yield
        finally:
            lock.release()


class _Part(FileIO):
    """A file that goes on where it ended, and tells of what is written."""

    def __init__(self, path: Path, fetch: Fetch) -> None:
        super().__init__(path, "ab")
        self._fetch = fetch

    def write(self, piece: Any) -> int:
        self._fetch.received(len(piece))
        view = memoryview(piece)
        while view:
            view = view[super().write(view) :]
        return len(piece)


@contextmanager
def _asking(source: Hub) -> Iterator[None]:
    """Their errors as ours, in our words."""
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise CheckpointNotFound(
            f"{source.repo_id} has no revision {source.revision} on the hub", field="hub.revision"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointNotFound(
            f"the hub has no repository {source.repo_id}, or this server may not read it", field="hub.repo_id"
        ) from error
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:  # type: ignore[attr-defined]
        raise TryLater("the hub does not answer as it should", retry_after=_TIMEOUT) from error
    except ValueError as error:
        raise TryLater("the hub answered with nonsense", retry_after=_TIMEOUT) from error
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # its own check of a file's length
            raise TryLater("the hub's file is not as long as it said", retry_after=_TIMEOUT) from error
        raise


def _settle_library() -> None:
    """No telemetry, no bars or lines of its own in a server's log; a broken connection costs at most a piece."""
    constants.HF_HUB_DISABLE_TELEMETRY = True
    constants.DOWNLOAD_CHUNK_SIZE = _PIECE
    disable_progress_bars()
    logging.getLogger("huggingface_hub").handlers.clear()
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _token(path: Path | None) -> str | bool:
    """False: none, also where the environment of the server has one."""
    if path is None:
        return False
    try:
        return path.read_text().strip() or False
    except (OSError, ValueError) as error:
        raise NotPossible("the hub's token cannot be read", field="hub") from error


def _snapshot(home: Path, source: Hub, commit: str | None, siblings: list[Any]) -> Snapshot:
    if commit is None or not _COMMIT.fullmatch(commit):
        raise TryLater("the hub answered with nonsense", retry_after=_TIMEOUT)
    sizes = {
        file.rfilename: file.size
        for file in siblings
        if _WEIGHTS.fullmatch(file.rfilename) or _ALLOWED.fullmatch(file.rfilename)
    }
    if not all(isinstance(size, int) and size >= 0 for size in sizes.values()):
        raise TryLater("the hub does not tell how large its files are", retry_after=_TIMEOUT)
    if not any(_WEIGHTS.fullmatch(name) for name in sizes):
        raise NotACheckpoint(f"{source.repo_id} has no safetensors weights", field="hub.repo_id")
    hashes = {file.rfilename: file.lfs.sha256 for file in siblings if file.lfs is not None}
    return Snapshot(source.repo_id, commit, home / commit, dict(sorted(sizes.items())), hashes)


def _known(home: Path, source: Hub) -> Snapshot | None:
    """A revision all of whose files were fetched before."""
    commit = source.revision
    if not _COMMIT.fullmatch(commit):
        commit = _revisions(home).get(commit, "")
    try:
        sizes = msgspec.json.decode((home / f"{commit}.json").read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return None
    found = Snapshot(source.repo_id, commit, home / commit, sizes, {})
    return found if found.missing == 0 else None


def _revisions(home: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((home / "revisions.json").read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}


def _have(path: Path) -> int:
    """Bytes of a file that are there, be it whole or not."""
    for each in (path, path.with_name(f"{path.name}.part")):
        if each.is_file():
            return each.stat().st_size
    return 0
