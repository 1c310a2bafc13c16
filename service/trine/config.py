"""Settings of the server process, read once from TRINE_* environment variables. Frozen; derived values are properties.

The command line's options override the environment. Each engine gets the few numbers that it needs as arguments.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRINE_", frozen=True, extra="ignore")

    repository: Path = Path("var/repository")
    """The folder that is the registry. Created when missing."""
    import_root: Path = Field(default_factory=Path.cwd)
    """Checkpoint folders may be registered only from below here."""

    hub_endpoint: str = ""
    """The hub that checkpoints may be fetched from, as https://huggingface.co. Empty: none, nothing is ever fetched."""
    hub_token_file: Path | None = None
    """A file with the hub's access token, for private repositories."""
    hub_cache: Path | None = None
    """Where fetched files are kept, so that a broken download goes on. Unset: `.hub` in the repository."""
    max_versions: int = Field(0, ge=0)
    """READY versions kept of a checkpoint; a registration beyond removes the oldest that no alias names and nobody has loaded. 0: all."""
    max_repository_bytes: int = Field(0, ge=0)
    """Disk that the repository may take; a registration beyond it is refused. 0: no limit."""
    watch_interval: float = Field(2.0, gt=0)
    """Seconds between two looks at the repository where its file system tells no changes, as on network volumes."""

    host: str = "127.0.0.1"
    """Address of the inference and the HTTP port."""
    grpc_port: int = Field(8001, ge=0, le=65535)
    """Inference; 0 takes a free port."""
    http_port: int = Field(8002, ge=0, le=65535)
    """/metrics, /livez and /readyz."""
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(8003, ge=0, le=65535)
    """Administration."""
    ports_file: Path | None = None
    """Where to write the ports in use, as JSON, once the server listens; for scripts that ask for free ports."""
    reflection: bool = True

    load: Literal["live", "lazy", "none"] = "live"
    """What to load at start: every version that an alias `live` points at; "lazy": the same ones, each at its first request; "none"."""
    memory_budget_bytes: int = Field(0, ge=0)
    """Memory of all engines together; beyond it the one that was used least recently is unloaded (docs/decisions/0017). 0: no limit."""

    max_requests: int = Field(512, ge=1)
    """Requests in flight over all checkpoints; one more is refused with RESOURCE_EXHAUSTED."""
    max_inputs: int = Field(256, ge=1)
    """Inputs of one request."""
    max_inflight_bytes: int = Field(64 << 20, ge=1)
    """Text in flight over all requests, in UTF-8 bytes."""
    max_characters: int = Field(65_536, ge=1)
    """Characters of one input; counted before anything is tokenized."""
    max_message_bytes: int = Field(4 << 20, ge=1024)
    """One gRPC message."""
    max_concurrent_streams: int = Field(256, ge=1, le=256)
    """Open calls of one connection; with more, one client's resets fail another's (docs/decisions/0003)."""
    default_timeout: float = Field(60.0, gt=0)
    """Seconds that a call without a deadline of its own may take, and that its stream may wait to be read."""
    retry_after: float = Field(0.5, gt=0)
    """Seconds in RetryInfo of a refusal."""

    max_stream_inputs: int = Field(64, ge=1)
    """Inputs in flight of one stream in both directions; further ones are not read until answers are."""

    engine_window: int = Field(256, ge=1)
    """Requests that one engine holds, cancelled ones included until it let go of them."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """What engines compute on; checkpoints are exported for it (docs/gpu.md)."""
    device_id: int = Field(0, ge=0)
    """Which CUDA device."""
    engine_threads: int = Field(0, ge=0)
    """Threads of an engine's graph runs; 0 takes what the cgroup and the affinity allow."""
    engine_cache_bytes: int = Field(0, ge=0)
    """Key/value cache of one engine; 0 takes a quarter of the memory limit, at most 1 GiB."""
    engine_prefix_cache_bytes: int = Field(64 << 20, ge=0)
    """Keys and values of prompt beginnings that one engine keeps for later prompts (decoders only); 0 keeps none.

    All callers of a checkpoint share them, and the time to the first token tells whether a beginning was seen before: where callers
    must not learn that of each other, it is to be 0.
    """
    engine_batch_tokens: int = Field(2048, ge=16)
    """Most tokens of one encoder batch; tokens of one mixed step."""
    engine_max_batch_ms: int = Field(100, ge=1)
    """Milliseconds that one encoder batch may take; an engine measures at load how many tokens that is."""
    engine_max_slots: int = Field(64, ge=1)
    """Sequences that run at once in one engine."""
    engine_load_timeout: float = Field(120.0, gt=0)
    """Seconds until an engine that is not ready is killed."""
    engine_stall_timeout: float = Field(30.0, gt=0)
    """Seconds without an answer to a ping until an engine is killed."""
    engine_restart_pause: float = Field(0.25, gt=0)
    """Seconds before the first restart; doubles up to 30 s while it keeps dying."""

    export_timeout: float = Field(1800.0, gt=0)
    """Seconds of one export."""
    drain_timeout: float = Field(30.0, ge=0)
    """Seconds that requests in flight get after SIGTERM."""
    drain_delay: float = Field(0.0, ge=0)
    """Seconds between health NOT_SERVING and the refusal of new calls, for balancers to notice."""
    log_level: str = "INFO"
    log_json: bool | None = None
    """JSON lines, or lines for people. Unset: JSON unless standard error is a terminal."""


def available_cores() -> int:
    """Cores that this process may use: its affinity, cut by the cgroup's quota; at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return max(1, min(cores, int(quota)) if quota else cores)


def _cgroup_quota() -> float | None:
    """CPU quota in cores from cgroup v2 or v1, or None without one."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        base = Path("/sys/fs/cgroup/cpu")
        limit_us = int((base / "cpu.cfs_quota_us").read_text())
        return limit_us / int((base / "cpu.cfs_period_us").read_text()) if limit_us > 0 else None
    except (OSError, ValueError):
        return None


def memory_limit() -> int:
    """Bytes that this process may use: the cgroup's limit or the machine's memory."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(physical, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return physical
