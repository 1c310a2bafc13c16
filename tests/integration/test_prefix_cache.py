"""Prompts that begin alike, over gRPC on the verse checkpoint: a later one starts from what an earlier one left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.server import Server
from trine.client import Client

PROMPT = """A prologue that no other test has.

First Citizen:
Before we proceed any further, hear me speak.

All:
Speak, speak.

First Citizen:
You are all resolved rather to die than to famish?

All:
Resolved. resolved.

First Citizen:
First, you know Caius Marcius is chief enemy to the people. Let us kill him, and we'll have corn at our own price.

Second Citizen:
One word, good citizens.
"""
CHUNK = 64
DRAWN: dict[str, Any] = {"temperature": 0.8, "seed": 3}


def hits(server: Server) -> tuple[float, float]:
    """Prompt tokens that the cache had, and that were looked up."""
    names = ("trine_prefix_cache_hit_tokens_total", "trine_prefix_cache_lookup_tokens_total")
    had, looked_up = (server.metric(name, checkpoint="verse") for name in names)
    return had, looked_up


def test_a_prompt_that_was_seen_is_not_computed_again(server: Server, client: Client) -> None:
    had, looked_up = hits(server)
    first = client.generate("verse", PROMPT, max_new_tokens=24)
    again = client.generate("verse", PROMPT, max_new_tokens=24)
    *_, last = client.stream_generate("verse", f"{PROMPT}\nROMEO:", max_new_tokens=4)
    assert first.usage.cached_tokens == 0
    assert again.usage.cached_tokens == (again.usage.input_tokens - 2) // CHUNK * CHUNK > 0
    assert again.text == first.text
    assert last.usage is not None
    assert last.usage.cached_tokens >= again.usage.cached_tokens
    now_had, now_looked_up = hits(server)
    assert now_had - had == again.usage.cached_tokens + last.usage.cached_tokens
    assert now_looked_up - looked_up == 2 * first.usage.input_tokens + last.usage.input_tokens
    assert server.metric("trine_prefix_cache_bytes", checkpoint="verse") > 0


def test_it_changes_no_answer_and_can_be_switched_off(
    client: Client, repository: Path, tmp_path: Path
) -> None:
    prompts = [f"{PROMPT}\n{name}:\n" for name in ("ROMEO", "JULIET", "First Citizen")]
    cached = [client.generate("verse", prompt, max_new_tokens=24, **DRAWN) for prompt in prompts]
    assert all(result.usage.cached_tokens for result in cached[1:])
    with Server(tmp_path, repository, load="none", engine_prefix_cache_bytes=0) as off, off.client() as other:
        other.load("verse")
        plain = [other.generate("verse", prompt, max_new_tokens=24, **DRAWN) for prompt in prompts]
        assert [result.text for result in plain] == [result.text for result in cached]
        assert not any(result.usage.cached_tokens for result in plain)
        assert hits(off) == (0.0, 0.0)
