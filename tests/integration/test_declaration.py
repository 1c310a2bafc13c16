"""`trine serve --config FILE`: the real server brought to a file, and to the file's changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.server import CHECKPOINTS, Server, until
from tests.integration.versions import add_version, with_other_labels
from trine.client import Client


def state(client: Client, name: str, number: int = 1) -> str:
    return client.get(f"{name}:{number}").versions[0].engine_state


def test_a_server_is_brought_to_its_file(repository_copy: Path, tmp_path: Path) -> None:
    """What the session's repository holds was exported from these very folders, unless it was made by an earlier recipe."""
    add_version(repository_copy, "sentiment", with_other_labels)
    config = tmp_path / "trine.toml"
    base = '[server]\nmax_inputs = 3\nwatch_interval = 0.1\n[checkpoints.verse]\nload = ["live"]\n'
    config.write_text(base)
    with (
        Server(tmp_path / "server", repository_copy, config=config, engine_threads=1) as server,
        server.client() as client,
    ):
        server.wait_ready()
        assert [state(client, name) for name in ("verse", "sentiment", "en-fr")] == [
            "live",
            "unloaded",
            "unloaded",
        ]
        assert client.generate("verse", "ROMEO:", max_new_tokens=4).text
        config.write_text(base + "[checkpoints.sentiment]\naliases = { live = 2 }\n")
        until(lambda: state(client, "sentiment", 2) == "live")
        until(lambda: client.get("sentiment").aliases == {"live": 2})
        assert client.classify("sentiment", "Fine.").labels[0].name == "second positive"
        config.write_text(base + "[checkpoints.sentiment]\naliases = { live = 1 }\nlaod = true\n")
        until(lambda: server.metric("trine_declaration_valid") == 0)
        assert client.get("sentiment").aliases == {"live": 2}
        config.write_text("[checkpoints.sentiment]\naliases = { live = 1 }\n")
        until(lambda: client.get("sentiment").aliases == {"live": 1})
        until(lambda: state(client, "verse") == "unloaded")
        assert server.metric("trine_declaration_valid") == 1
        reasons = [record["reason"] for record in server.records() if "reason" in record]
        assert reasons == ["checkpoints.sentiment.laod is an unknown key"]


def test_the_same_folder_is_the_same_version(repository_copy: Path, tmp_path: Path) -> None:
    """The repository was made from this very folder; one that was made by an earlier recipe gets a version more, once."""
    config = tmp_path / "trine.toml"
    config.write_text(f'[checkpoints.sentiment]\npath = "{CHECKPOINTS / "sentiment-en"}"\n')
    counts = []
    for _ in range(2):
        with (
            Server(tmp_path / "server", repository_copy, config=config, engine_threads=1) as server,
            server.client() as client,
        ):
            server.wait_ready(300)
            assert client.classify("sentiment", "Fine.").labels[0].name == "positive"
            checkpoint = client.get("sentiment")
            counts.append(len(checkpoint.versions))
            assert checkpoint.aliases == {"live": counts[0]}
    assert counts[0] == counts[1]


def test_a_bad_file_keeps_a_server_from_starting(tmp_path: Path) -> None:
    config = tmp_path / "trine.toml"
    config.write_text("[server]\nmemory_budget = 1\n")
    command = [sys.executable, "-m", "trine.cli", "serve", "--config", str(config)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert run.returncode == 2
    assert "memory_budget is an unknown key" in run.stderr
    run = subprocess.run(
        [*command[:-1], str(tmp_path / "none")], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 2
    assert "cannot be read" in run.stderr
