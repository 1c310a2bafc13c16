"""Every metric and every bucket, named once. Front process, event loop only; engines send theirs in `frames.Observed`.

Label values come from the registry, from the descriptors and from this file, never from a caller: what a caller makes up adds no
series. A page with ten checkpoints has about 2,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

import trine
from trine.artifact import Parity
from trine.frames import Observed

M = TypeVar("M", Counter, Gauge, Histogram)

ENGINE_STATES = ("unloaded", "loading", "live", "restarting", "unloading")

REQUEST_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
STAGE_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Queue, tokenizer, one run of a graph: parts of a request, so they begin lower."""
FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""OpenTelemetry's gen_ai.server.time_to_first_token."""
INTER_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
"""OpenTelemetry's gen_ai.server.time_per_output_token, begun lower for small checkpoints."""
BATCH_SIZE = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BATCH_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)

_VERSION = ("checkpoint", "version")
_METHOD = ("grpc_service", "grpc_method", "grpc_type")

# A second series for each counter and histogram, which no dashboard reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One page of metrics with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.PlatformCollector(registry=self.registry)
        self._of_version: list[Counter | Gauge | Histogram] = []
        self._found: dict[tuple[object, ...], Any] = {}
        """Metric and label values to their series."""
        self._define_requests()
        self._define_engines()
        self._define_stages()
        self._define_tokens()
        self._define_grpc()

    def _define_requests(self) -> None:
        self._requests = self._counter(
            "trine_requests_total",
            "Inference requests that ended, by OK or the reason of the error.",
            (*_VERSION, "task", "code"),
        )
        self._request_seconds = self._histogram(
            "trine_request_duration_seconds",
            "From a request's arrival in the front to its end.",
            REQUEST_SECONDS,
            (*_VERSION, "task"),
        )
        self._rejected = self._counter(
            "trine_rejected_total", "Requests that got no permit, by reason.", ("reason",)
        )
        self._registrations = self._counter(
            "trine_registrations_total", "Registrations that ended, by outcome.", ("outcome",)
        )
        self._declaration = self._gauge(
            "trine_declaration_valid",
            "0 while the file of --config has been changed to what does not hold.",
            (),
        )
        self._declaration.set(1)
        build = self._gauge("trine_build_info", "The version of the service; always 1.", ("version",))
        build.labels(trine.__version__).set(1)

    def _define_engines(self) -> None:
        self._waiting = self._gauge("trine_requests_waiting", "Inputs in an engine's queue.")
        self._running = self._gauge("trine_requests_running", "Inputs that an engine computes.")
        self._cache = self._gauge("trine_kv_cache_usage_ratio", "Key/value cache in use, 0 to 1.")
        self._prefix_bytes = self._gauge("trine_prefix_cache_bytes", "Memory of an engine's prefix cache.")
        self._rss = self._gauge("trine_engine_rss_bytes", "Resident memory of an engine.")
        self._resident = self._gauge(
            "trine_engine_resident_bytes",
            "Proportional set size of an engine: its own memory and its part of what engines share; the memory budget counts it.",
        )
        self._restarts = self._counter("trine_engine_restarts_total", "Restarts of an engine after a death.")
        self._load_seconds = self._gauge(
            "trine_engine_load_duration_seconds", "How long an engine's last load took."
        )
        self._state = self._gauge(
            "trine_engine_state", "1 for the state that an engine is in, 0 for others.", (*_VERSION, "state")
        )
        self._drift = self._gauge(
            "trine_parity_drift", "What the parity gate measured, by check.", (*_VERSION, "check")
        )

    def _define_stages(self) -> None:
        self._queue = self._histogram(
            "trine_queue_duration_seconds",
            "From an input's arrival in the engine to its batch.",
            STAGE_SECONDS,
        )
        self._tokenize = self._histogram(
            "trine_tokenize_duration_seconds", "Tokenizing the inputs of a request.", STAGE_SECONDS
        )
        self._compute = self._histogram(
            "trine_compute_duration_seconds", "One run of a graph.", STAGE_SECONDS
        )
        self._batch_size = self._histogram("trine_batch_size", "Sequences in one run of a graph.", BATCH_SIZE)
        self._batch_tokens = self._histogram(
            "trine_batch_tokens", "Tokens in one run of a graph.", BATCH_TOKENS
        )

    def _define_tokens(self) -> None:
        self._first_token = self._histogram(
            "trine_time_to_first_token_seconds",
            "From a sequence's arrival in the engine to its first new token.",
            FIRST_TOKEN_SECONDS,
        )
        self._inter_token = self._histogram(
            "trine_inter_token_latency_seconds", "Between two new tokens of a sequence.", INTER_TOKEN_SECONDS
        )
        self._prompt_tokens = self._counter("trine_prompt_tokens_total", "Tokens read.")
        self._generation_tokens = self._counter("trine_generation_tokens_total", "Tokens written.")
        self._wasted_tokens = self._counter(
            "trine_wasted_tokens_total", "Tokens computed for callers who had left."
        )
        self._prefix_lookup_tokens = self._counter(
            "trine_prefix_cache_lookup_tokens_total",
            "Tokens of prompts that were looked up in the prefix cache.",
        )
        self._prefix_hit_tokens = self._counter(
            "trine_prefix_cache_hit_tokens_total", "Tokens of prompts that the prefix cache had."
        )

    def _define_grpc(self) -> None:
        self._grpc_started = self._counter("grpc_server_started_total", "RPCs started.", _METHOD)
        self._grpc_handled = self._counter(
            "grpc_server_handled_total", "RPCs ended, by status code.", (*_METHOD, "grpc_code")
        )
        self._grpc_seconds = self._histogram(
            "grpc_server_handling_seconds", "From an RPC's start to its end.", REQUEST_SECONDS, _METHOD
        )

    def _counter(self, name: str, help_: str, labels: Sequence[str] = _VERSION) -> Counter:
        counter = Counter(name, help_, labels, registry=self.registry)
        self._remember(counter, labels)
        return counter

    def _gauge(self, name: str, help_: str, labels: Sequence[str] = _VERSION) -> Gauge:
        gauge = Gauge(name, help_, labels, registry=self.registry)
        self._remember(gauge, labels)
        return gauge

    def _histogram(
        self, name: str, help_: str, buckets: Sequence[float], labels: Sequence[str] = _VERSION
    ) -> Histogram:
        histogram = Histogram(name, help_, labels, registry=self.registry, buckets=buckets)
        self._remember(histogram, labels)
        return histogram

    def _remember(self, metric: Counter | Gauge | Histogram, labels: Sequence[str]) -> None:
        if labels[: len(_VERSION)] == _VERSION:
            self._of_version.append(metric)

    def _series(self, metric: M, *labels: str) -> M:
        """`metric.labels`, which takes 1.2 us each time, asked once: a call needs five series, and each frame a dozen."""
        key = (metric, *labels)
        found: M | None = self._found.get(key)
        if found is None:
            found = self._found[key] = metric.labels(*labels)
        return found

    def request(self, checkpoint: str, version: str, task: str, code: str, seconds: float) -> None:
        """A request ended. `code` is OK, CANCELLED or the reason of an error; unknown names count as "_unknown"."""
        self._series(self._requests, checkpoint, version, task, code).inc()
        self._series(self._request_seconds, checkpoint, version, task).observe(seconds)

    def rejected(self, reason: str) -> None:
        """A request got no permit: "queue_full", "too_large" or "draining"."""
        self._series(self._rejected, reason).inc()

    def registered(self, outcome: str) -> None:
        """A registration ended: "ready", "existing", "failed", "refused" or "cancelled"."""
        self._series(self._registrations, outcome).inc()

    def declaration_read(self, *, ok: bool) -> None:
        """The file of --config has changed, and holds or does not."""
        self._declaration.set(ok)

    def observe(self, checkpoint: str, version: str, observed: Observed) -> None:
        """What an engine measured since its last frame. About 1 us for each value, and 20 us for the frame."""
        for histogram, values in (
            (self._queue, observed.queue),
            (self._tokenize, observed.tokenize),
            (self._compute, observed.compute),
            (self._batch_size, observed.batch_size),
            (self._batch_tokens, observed.batch_tokens),
            (self._first_token, observed.first_token),
            (self._inter_token, observed.inter_token),
        ):
            if values:  # the series of what a family does not do are not made
                observe = self._series(histogram, checkpoint, version).observe
                for value in values:
                    observe(value)
        self._series(self._prompt_tokens, checkpoint, version).inc(observed.input_tokens)
        self._series(self._generation_tokens, checkpoint, version).inc(observed.output_tokens)
        self._series(self._wasted_tokens, checkpoint, version).inc(observed.wasted_tokens)
        self._series(self._prefix_lookup_tokens, checkpoint, version).inc(observed.prefix_lookup_tokens)
        self._series(self._prefix_hit_tokens, checkpoint, version).inc(observed.prefix_hit_tokens)
        self._series(self._prefix_bytes, checkpoint, version).set(observed.prefix_bytes)
        self._series(self._waiting, checkpoint, version).set(observed.waiting)
        self._series(self._running, checkpoint, version).set(observed.running)
        self._series(self._cache, checkpoint, version).set(observed.cache_used)
        if observed.rss_bytes:  # not measured at every step
            self._series(self._rss, checkpoint, version).set(observed.rss_bytes)

    def engine_state(self, checkpoint: str, version: str, state: str) -> None:
        """An engine is now in one of ENGINE_STATES. One that is not live has nothing waiting or running."""
        if state not in ENGINE_STATES:
            raise ValueError(f"{state} is no state of an engine: this is a bug")
        for each in ENGINE_STATES:
            self._series(self._state, checkpoint, version, each).set(each == state)
        self._series(self._restarts, checkpoint, version).inc(0)
        if state in ("unloaded", "restarting"):
            held = (self._waiting, self._running, self._cache, self._prefix_bytes, self._rss, self._resident)
            for gauge in held:
                self._series(gauge, checkpoint, version).set(0)

    def engine_loaded(self, checkpoint: str, version: str, seconds: float) -> None:
        self._series(self._load_seconds, checkpoint, version).set(seconds)

    def engine_resident(self, checkpoint: str, version: str, count: int) -> None:
        """Bytes that an engine takes."""
        self._series(self._resident, checkpoint, version).set(count)

    def restarted(self, checkpoint: str, version: str) -> None:
        self._series(self._restarts, checkpoint, version).inc()

    def parity(self, checkpoint: str, version: str, parity: Parity) -> None:
        """What the gate measured when the version was registered."""
        for check in parity.checks:
            self._series(self._drift, checkpoint, version, check.name).set(check.value)

    def forget(self, checkpoint: str, version: str) -> None:
        """Remove every series of a version: it was unloaded."""
        for metric in self._of_version:
            metric.remove_by_labels({"checkpoint": checkpoint, "version": version})
        self._found.clear()

    def grpc_started(self, service: str, method: str, type_: str) -> None:
        self._series(self._grpc_started, service, method, type_).inc()

    def grpc_handled(self, service: str, method: str, type_: str, code: str, seconds: float) -> None:
        self._series(self._grpc_handled, service, method, type_, code).inc()
        self._series(self._grpc_seconds, service, method, type_).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics or the text format, as the Accept header asks."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type
