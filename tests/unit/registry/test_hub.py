"""What is fetched of a hub's repository, what never is, and what a break leaves; the hub is a stand-in on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.registry.fake_hub import COMMIT, LATER, FakeHub
from trine.errors import (
    CheckpointNotFound,
    Draining,
    InvalidInput,
    NotACheckpoint,
    NotPossible,
    TrineError,
    TryLater,
)
from trine.registry.hub import Fetch, Snapshot
from trine.registry.source import Hub

WEIGHTS = bytes(range(256)) * (4 << 12)
FILES = {
    "config.json": b"{}",
    "1_Pooling/config.json": b'{"a": 1}',
    "README.md": b"# x",
    "tokenizer_config.json": b"{}",
    "model.safetensors": WEIGHTS,
}
FORBIDDEN = (
    "modeling.py",
    "pytorch_model.bin",
    "onnx/model.onnx",
    "model.fp16.safetensors",
    "../config.json",
    ".gitattributes",
)
SOURCE = Hub("org/name", "main")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub(FILES | dict.fromkeys(FORBIDDEN, b"no"))
    yield fake
    fake.stop()


def fetch(hub: FakeHub, cache: Path, source: Hub = SOURCE) -> Snapshot:
    fetching = Fetch(hub.endpoint, None, cache)
    snapshot = fetching.resolve(source)
    fetching.download(source, snapshot)
    assert fetching.done == sum(map(len, FILES.values()))
    return snapshot


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_an_export_reads_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    snapshot = fetch(hub, tmp_path)
    assert snapshot.commit == COMMIT
    assert contents(snapshot.folder) == FILES
    assert sorted(hub.fetched()) == sorted(FILES)
    assert not any(path.is_symlink() for path in snapshot.folder.rglob("*"))


def test_what_was_fetched_is_not_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    hub.requests.clear()
    assert fetch(hub, tmp_path).missing == 0
    assert hub.fetched() == []
    hub.requests.clear()
    fetch(hub, tmp_path, Hub("org/name", COMMIT))
    assert hub.requests == [], "a commit never changes"


def test_a_branch_that_moved_is_fetched_anew(hub: FakeHub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    hub.commit = LATER
    assert fetch(hub, tmp_path).commit == LATER


def test_a_connection_that_breaks_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.break_after = 2 << 20
    snapshot = fetch(hub, tmp_path)
    assert (snapshot.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [asked for path, asked in hub.requests if path.endswith("/model.safetensors")] == [
        *("", f"bytes={2 << 20}-")
    ]


def test_a_fetch_that_was_broken_off_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    first = Fetch(hub.endpoint, None, tmp_path)
    snapshot = first.resolve(SOURCE)
    snapshot.folder.mkdir(parents=True)
    (snapshot.folder / "model.safetensors.part").write_bytes(WEIGHTS[:1000])
    assert snapshot.missing == sum(map(len, FILES.values())) - 1000
    fetch(hub, tmp_path)
    assert contents(snapshot.folder) == FILES
    assert (f"/org/name/resolve/{COMMIT}/model.safetensors", "bytes=1000-") in hub.requests


def test_a_cancelled_fetch_ends(hub: FakeHub, tmp_path: Path) -> None:
    fetching = Fetch(hub.endpoint, None, tmp_path)
    snapshot = fetching.resolve(SOURCE)
    fetching.cancel()
    with pytest.raises(Draining):
        fetching.download(SOURCE, snapshot)
    assert fetch(hub, tmp_path).missing == 0


def test_a_hub_that_is_gone_leaves_what_was_fetched(hub: FakeHub, tmp_path: Path) -> None:
    before = fetch(hub, tmp_path)
    gone = Fetch("http://127.0.0.1:9", None, tmp_path)
    found = gone.resolve(SOURCE)
    assert (found.commit, found.folder, found.sizes) == (before.commit, before.folder, before.sizes)
    with pytest.raises(TryLater) as caught:
        gone.resolve(Hub("org/other", "main"))
    assert caught.value.message == "the hub does not answer as it should"


@pytest.mark.parametrize(
    ("source", "error", "field"),
    [
        (Hub("org/none", "main"), CheckpointNotFound, "hub.repo_id"),
        (Hub("org/name", "v9"), CheckpointNotFound, "hub.revision"),
        (Hub("../x", "main"), InvalidInput, "hub.repo_id"),
        (Hub("org/name/x", "main"), InvalidInput, "hub.repo_id"),
        (Hub("org/name", "../../x"), InvalidInput, "hub.revision"),
        (Hub("org/name", "a?b"), InvalidInput, "hub.revision"),
    ],
)
def test_what_is_not_there_is_told_in_our_words(
    hub: FakeHub, tmp_path: Path, source: Hub, error: type[TrineError], field: str
) -> None:
    with pytest.raises(error) as caught:
        Fetch(hub.endpoint, None, tmp_path).resolve(source)
    assert caught.value.field == field
    assert "foreign" not in caught.value.message
    assert "http" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_pickles_alone_are_not_fetched(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"no"}
    with pytest.raises(NotACheckpoint, match="no safetensors weights"):
        Fetch(hub.endpoint, None, tmp_path).resolve(SOURCE)


def test_the_token_is_that_of_the_file_or_none(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-the-environment")
    Fetch(hub.endpoint, None, tmp_path).resolve(SOURCE)
    assert hub.tokens == {""}
    (tmp_path / "token").write_text("secret\n")
    Fetch(hub.endpoint, tmp_path / "token", tmp_path).resolve(SOURCE)
    assert hub.tokens == {"", "Bearer secret"}


def test_without_an_endpoint_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match="no hub is configured"):
        Fetch("", None, tmp_path)
    with pytest.raises(NotPossible, match="the hub's token cannot be read"):
        Fetch("http://127.0.0.1:9", tmp_path / "none", tmp_path)


def test_a_redirection_is_followed_and_does_not_get_the_token(hub: FakeHub, tmp_path: Path) -> None:
    """As the public hub does for large files."""
    other = FakeHub(hub.files)
    try:
        hub.redirect_to = other.endpoint.replace("127.0.0.1", "localhost")
        (tmp_path / "token").write_text("secret")
        fetching = Fetch(hub.endpoint, tmp_path / "token", tmp_path / "cache")
        snapshot = fetching.resolve(SOURCE)
        fetching.download(SOURCE, snapshot)
        assert contents(snapshot.folder) == FILES
        assert sorted(other.fetched()) == sorted(FILES)
        assert (hub.tokens, other.tokens) == ({"Bearer secret"}, {""})
    finally:
        other.stop()


def test_weights_that_are_not_what_the_hub_said_are_not_kept(hub: FakeHub, tmp_path: Path) -> None:
    hub.told_hash = "0" * 64
    with pytest.raises(TryLater, match="not what it said"):
        fetch(hub, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors*"))
    hub.told_hash = ""
    fetch(hub, tmp_path)
