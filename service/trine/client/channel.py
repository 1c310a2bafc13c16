"""How both clients connect: the published service config, keepalive and reconnection. The caller's process.

service_config.json is for every language: any gRPC client can load it as its default service config. It spreads calls over all
addresses of the target (round_robin) and retries UNAVAILABLE, while fewer than half of the recent calls fail. RESOURCE_EXHAUSTED is not
retried: more load is no cure for load. gRPC retries a stream only until the server has begun to answer it; calls that change
something (register, load, alias, delete and the like) are never retried.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from trine import __version__

DEFAULT_TARGET = "127.0.0.1:8001"
DEFAULT_ADMIN_TARGET = "127.0.0.1:8003"
DEFAULT_TIMEOUT = 60.0
"""Seconds of an inference call that names no timeout of its own."""

Options = Sequence[tuple[str, str | int]]

SERVICE_CONFIG = files("trine.client").joinpath("service_config.json").read_text(encoding="utf-8")

_DEFAULTS: dict[str, str | int] = {
    "grpc.service_config": SERVICE_CONFIG,
    "grpc.primary_user_agent": f"trine-python/{__version__}",
    # The server closes connections that ping oftener than every 20 s.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # A long call without traffic may be pinged for as long as it lasts (the default stops after 2 pings).
    "grpc.http2.max_pings_without_data": 0,
    # A server that restarts is found again within the retries (the default waits 1 s, then up to 2 minutes).
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5_000,
}


def channel_options(own: Options) -> list[tuple[str, str | int]]:
    """The defaults with the caller's own channel options laid over them."""
    return list((_DEFAULTS | dict(own)).items())
