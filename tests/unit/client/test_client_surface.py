"""The two clients are one surface; the public names are pinned; the published service config is one that gRPC accepts."""

from __future__ import annotations

import inspect
import json

import pytest

import trine.client
from trine.client import AsyncClient, Client
from trine.client.channel import SERVICE_CONFIG, channel_options
from trine.v1 import checkpoint_pb2

PUBLIC = sorted(name for name in dir(Client) if not name.startswith("_"))


def test_both_clients_have_the_same_methods() -> None:
    assert sorted(name for name in dir(AsyncClient) if not name.startswith("_")) == PUBLIC
    assert {"classify", "generate", "stream_generate", "translate", "stream_translate"} <= set(PUBLIC)
    assert {"classify_tokens", "embed"} <= set(PUBLIC)
    assert {"stream_classify", "stream_classify_tokens", "stream_embed"} <= set(PUBLIC)
    assert {"chat", "stream_chat", "summarize", "stream_summarize"} <= set(PUBLIC)
    assert {"register", "get", "list", "load", "unload", "delete", "health"} <= set(PUBLIC)
    assert {"import_artifact", "set_alias", "delete_alias", "watch"} <= set(PUBLIC)
    assert {"export_report", "architectures"} <= set(PUBLIC)


@pytest.mark.parametrize("name", [*PUBLIC, "__init__"])
def test_both_clients_have_the_same_signatures(name: str) -> None:
    one, other = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
    assert one.parameters == other.parameters
    returned = str(other.return_annotation).replace("AsyncStream", "Stream")
    assert returned == str(one.return_annotation)
    assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__


def test_the_public_names_are_pinned() -> None:
    exported = {
        name for name, value in vars(trine.client).items() if not inspect.ismodule(value) and name[0] != "_"
    }
    assert exported == set(trine.client.__all__)


def test_the_service_config_retries_only_what_may_be_repeated() -> None:
    config = json.loads(SERVICE_CONFIG)
    (method,) = config["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["retryPolicy"]["maxAttempts"] <= 5, "gRPC caps it"
    assert config["retryThrottling"]["maxTokens"] > 0
    services = {(name["service"], name.get("method")) for name in method["name"]}
    assert ("trine.v1.InferenceService", None) in services
    reading = {"Get", "List", "Watch"}
    for method in checkpoint_pb2.DESCRIPTOR.services_by_name["CheckpointService"].methods:
        repeated = ("trine.v1.CheckpointService", method.name) in services
        assert repeated == any(method.name.startswith(word) for word in reading), method.name
    assert ("trine.v1.CheckpointService", None) not in services


def test_own_options_lie_over_the_defaults() -> None:
    options = dict(
        channel_options([("grpc.keepalive_time_ms", 60_000), ("grpc.max_receive_message_length", 1)])
    )
    assert options["grpc.keepalive_time_ms"] == 60_000
    assert options["grpc.max_receive_message_length"] == 1
    assert options["grpc.service_config"] == SERVICE_CONFIG
    assert dict(channel_options([]))["grpc.keepalive_time_ms"] == 30_000, "servers allow one ping in 20 s"
