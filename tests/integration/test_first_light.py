"""From registered checkpoints to answers over gRPC and points on the metrics page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import NAMES
from tests.integration.server import CHECKPOINTS, Server
from trine.client import Client
from trine.errors import (
    CheckpointNotFound,
    InvalidInput,
    TrineError,
    WrongTask,
)

PROMPTS = ["ROMEO:", "First Citizen:\nBefore we proceed", "KING RICHARD III:\nNow is the", "Good night"]
SENTENCES = [
    "I am looking for a good restaurant.",
    "Where is the station?",
    "She is reading a book.",
    "Thanks!",
]
REVIEWS = ["This film is a delight from start to finish.", "A dull and lifeless mess.", "The staff was rude."]


def test_each_task_answers(client: Client) -> None:
    classified = client.classify("sentiment", REVIEWS)
    assert [result.labels[0].name for result in classified] == ["positive", "negative", "negative"]
    assert all(math.isclose(sum(label.score for label in r.labels), 1, abs_tol=1e-6) for r in classified)
    generated = client.generate("verse", "ROMEO:", max_new_tokens=24)
    assert generated.text
    assert generated.usage.output_tokens == 24
    assert generated.finish_reason == "length"
    translated = client.translate("en-fr", SENTENCES)
    assert all(result.text and result.finish_reason == "stop" for result in translated)
    assert len({result.text for result in translated}) == len(SENTENCES)


def test_batch_equals_single(client: Client) -> None:
    assert client.classify("sentiment", REVIEWS) == [client.classify("sentiment", text) for text in REVIEWS]
    assert client.translate("en-fr", SENTENCES) == [client.translate("en-fr", text) for text in SENTENCES]
    together = client.generate("verse", PROMPTS, max_new_tokens=20)
    assert together == [client.generate("verse", prompt, max_new_tokens=20) for prompt in PROMPTS]


def test_seeded_batch_equals_single(client: Client) -> None:
    """Input i of a batch draws as if it were alone with the seed plus i."""
    calls: list[tuple[Callable[..., Any], str, list[str]]] = [
        (client.generate, "verse", PROMPTS),
        (client.translate, "en-fr", SENTENCES),
    ]
    for call, name, texts in calls:
        options = {"temperature": 0.8, "top_p": 0.9, "top_k": 50, "max_new_tokens": 16}
        together = call(name, texts, seed=7, **options)
        assert together == [call(name, text, seed=7 + i, **options) for i, text in enumerate(texts)]
        assert together != call(name, texts, seed=8, **options)


def test_stream_equals_unary(client: Client) -> None:
    calls: list[tuple[Callable[..., Any], Callable[..., Any], str, list[str]]] = [
        (client.stream_generate, client.generate, "verse", PROMPTS),
        (client.stream_translate, client.translate, "en-fr", SENTENCES),
    ]
    for stream, unary, name, texts in calls:
        joined = [""] * len(texts)
        endings = {}
        for delta in stream(name, texts, max_new_tokens=30):
            joined[delta.input_index] += delta.text
            if delta.finish_reason is not None:
                assert delta.input_index not in endings
                endings[delta.input_index] = (delta.finish_reason, delta.usage)
        results = unary(name, texts, max_new_tokens=30)
        assert joined == [result.text for result in results]
        assert endings == {i: (r.finish_reason, r.usage) for i, r in enumerate(results)}


@pytest.mark.parametrize(
    ("call", "error", "field"),
    [
        (lambda c: c.classify("sentiment", ""), InvalidInput, "inputs[0].text"),
        (lambda c: c.classify("sentiment", []), InvalidInput, "inputs"),
        (lambda c: c.classify("sentiment", ["ok", "word " * 400]), InvalidInput, "inputs[1].text"),
        (lambda c: c.classify("sentiment", ["x" * 70_000]), InvalidInput, "inputs[0].text"),
        (lambda c: c.classify("nobody", "x"), CheckpointNotFound, "checkpoint"),
        (lambda c: c.classify("sentiment:9", "x"), CheckpointNotFound, "checkpoint"),
        (lambda c: c.classify("../etc", "x"), InvalidInput, "checkpoint"),
        (lambda c: c.classify("verse", "x"), WrongTask, "checkpoint"),
        (lambda c: c.generate("en-fr", "x"), WrongTask, "checkpoint"),
        (lambda c: c.generate("verse", "to be or " * 400), InvalidInput, "inputs[0].text"),
        (lambda c: c.generate("verse", "x", max_new_tokens=0), InvalidInput, "max_new_tokens"),
        (lambda c: c.generate("verse", "x", max_new_tokens=4096), InvalidInput, "max_new_tokens"),
        (lambda c: c.generate("verse", "x", temperature=math.nan), InvalidInput, "sampling.temperature"),
        (lambda c: c.generate("verse", "x", temperature=-1.0), InvalidInput, "sampling.temperature"),
        (lambda c: c.generate("verse", "x", top_p=0.0), InvalidInput, "sampling.top_p"),
        (lambda c: c.translate("en-fr", "house " * 300, split="none"), InvalidInput, "inputs[0].text"),
        (lambda c: c.translate("en-fr", "x", max_new_tokens=10_000), InvalidInput, "max_new_tokens"),
        (lambda c: list(c.stream_generate("verse", ["ok", ""])), InvalidInput, "inputs[1].text"),
        (lambda c: list(c.stream_generate("verse", "x", max_new_tokens=0)), InvalidInput, "max_new_tokens"),
    ],
)
def test_bad_input_names_the_field(
    client: Client, call: Callable[[Client], object], error: type[TrineError], field: str
) -> None:
    with pytest.raises(error) as caught:
        call(client)
    assert caught.value.field == field
    assert "/" not in caught.value.message.replace("top_p", "")
    assert "Traceback" not in caught.value.message


def test_show_tells_what_was_proved(client: Client) -> None:
    for name, checkpoint in NAMES.items():
        (version,) = client.get(name).versions
        assert (version.state, version.engine_state) == ("ready", "live")
        assert version.parity is not None
        assert version.parity.passed
        assert all(check.passed for check in version.parity.checks)
        drift = {check.name: check.value for check in version.parity.checks}
        assert any(value <= 1e-4 for key, value in drift.items() if "logits" in key), drift
        config = json.loads((CHECKPOINTS / checkpoint / "config.json").read_text())
        assert version.architecture == config["architectures"][0]
        assert version.size_bytes > 1_000_000
    assert [found.name for found in client.list()] == sorted(NAMES)


def test_the_metrics_page_tells_the_story(server: Server, client: Client) -> None:
    before = server.metric("trine_requests_total", checkpoint="verse", task="generation", code="OK")
    tokens = server.metric("trine_generation_tokens_total", checkpoint="verse")
    client.generate("verse", PROMPTS, max_new_tokens=8)
    assert (
        server.metric("trine_requests_total", checkpoint="verse", task="generation", code="OK") == before + 1
    )
    assert server.metric("trine_generation_tokens_total", checkpoint="verse") == tokens + 8 * len(PROMPTS)
    for name in (
        "trine_time_to_first_token_seconds_count",
        "trine_inter_token_latency_seconds_count",
        "trine_batch_size_count",
        "trine_batch_tokens_count",
        "trine_queue_duration_seconds_count",
        "trine_tokenize_duration_seconds_count",
        "trine_compute_duration_seconds_count",
        "trine_request_duration_seconds_count",
        "trine_prompt_tokens_total",
    ):
        assert server.metric(name, checkpoint="verse") > 0, name
    assert 0 <= server.metric("trine_parity_drift", checkpoint="verse", check="logits") <= 1e-4
    assert server.http("/livez")[0] == 200
    assert server.http("/readyz")[0] == 200
    assert server.http("/nothing")[0] == 404


def test_hostile_names_add_no_series(server: Server, client: Client) -> None:
    for i in range(20):
        with pytest.raises(TrineError):
            client.classify(f"name-{i}", "x")
    page = server.http("/metrics")[1]
    assert "name-1" not in page
    assert 'checkpoint="_unknown"' in page


def test_health_by_name(client: Client) -> None:
    assert client.health() == "serving"
    assert client.health("verse") == "serving"
    with pytest.raises(CheckpointNotFound):
        client.health("nobody")


def test_registering_again_makes_no_second_version(repository_copy: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "server", repository_copy) as server, server.client() as client:
        server.wait_ready()
        last = list(client.register("sentiment", CHECKPOINTS / "sentiment-en"))[-1]
        assert last.existing
        assert last.version is not None
        assert last.version.number == 1
        assert len(client.get("sentiment").versions) == 1
