"""The metrics page: what each call moves, that it parses, and that it stays small."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_fd_to_metric_families

import trine
from trine.artifact import Parity, ParityCheck
from trine.frames import Observed
from trine.telemetry.metrics import ENGINE_STATES, Metrics

OBSERVED = Observed(
    waiting=3,
    running=2,
    cache_used=0.25,
    rss_bytes=1000,
    queue=[0.001, 0.002],
    tokenize=[0.0003],
    compute=[0.03],
    batch_size=[2],
    batch_tokens=[40],
    first_token=[0.05],
    inter_token=[0.01, 0.02, 0.03],
    input_tokens=38,
    output_tokens=2,
    wasted_tokens=1,
    prefix_bytes=500,
    prefix_lookup_tokens=30,
    prefix_hit_tokens=20,
)
PARITY = Parity(True, (ParityCheck("logits", 2e-6, 1e-4, False, True, 64),))


def fill(metrics: Metrics, checkpoint: str, version: str = "1") -> None:
    """Everything that a version can do."""
    for code in ("OK", "INVALID_INPUT", "OVERLOADED", "DEADLINE_EXCEEDED", "CANCELLED"):
        metrics.request(checkpoint, version, "generation", code, 0.05)
    metrics.observe(checkpoint, version, OBSERVED)
    metrics.engine_state(checkpoint, version, "live")
    metrics.engine_loaded(checkpoint, version, 1.5)
    metrics.restarted(checkpoint, version)
    metrics.parity(checkpoint, version, PARITY)


def parse_text(page: str) -> Iterable[Metric]:
    return text_fd_to_metric_families(io.StringIO(page))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_requests_are_counted_by_outcome(metrics: Metrics) -> None:
    metrics.request("a", "1", "classification", "OK", 0.05)
    metrics.request("a", "1", "classification", "OK", 0.15)
    metrics.request("_unknown", "", "classification", "CHECKPOINT_NOT_FOUND", 0.001)
    known = {"checkpoint": "a", "version": "1", "task": "classification"}
    assert value(metrics, "trine_requests_total", **known, code="OK") == 2
    assert value(metrics, "trine_request_duration_seconds_sum", **known) == pytest.approx(0.2)
    assert value(metrics, "trine_request_duration_seconds_bucket", **known, le="0.1") == 1
    unknown = {"checkpoint": "_unknown", "version": "", "task": "classification"}
    assert value(metrics, "trine_requests_total", **unknown, code="CHECKPOINT_NOT_FOUND") == 1


def test_what_an_engine_observes(metrics: Metrics) -> None:
    metrics.observe("a", "1", OBSERVED)
    metrics.observe("a", "1", Observed(waiting=0, running=1, input_tokens=2, prefix_bytes=400))
    known = {"checkpoint": "a", "version": "1"}
    assert value(metrics, "trine_requests_waiting", **known) == 0
    assert value(metrics, "trine_requests_running", **known) == 1
    assert value(metrics, "trine_kv_cache_usage_ratio", **known) == 0
    assert value(metrics, "trine_engine_rss_bytes", **known) == 1000, "not measured is not zero"
    assert value(metrics, "trine_prompt_tokens_total", **known) == 40
    assert value(metrics, "trine_generation_tokens_total", **known) == 2
    assert value(metrics, "trine_wasted_tokens_total", **known) == 1
    assert value(metrics, "trine_prefix_cache_lookup_tokens_total", **known) == 30
    assert value(metrics, "trine_prefix_cache_hit_tokens_total", **known) == 20
    assert value(metrics, "trine_prefix_cache_bytes", **known) == 400
    for name, count, total in (
        ("trine_queue_duration_seconds", 2, 0.003),
        ("trine_tokenize_duration_seconds", 1, 0.0003),
        ("trine_compute_duration_seconds", 1, 0.03),
        ("trine_batch_size", 1, 2),
        ("trine_batch_tokens", 1, 40),
        ("trine_time_to_first_token_seconds", 1, 0.05),
        ("trine_inter_token_latency_seconds", 3, 0.06),
    ):
        assert value(metrics, f"{name}_count", **known) == count, name
        assert value(metrics, f"{name}_sum", **known) == pytest.approx(total), name


def test_an_encoder_gets_no_series_of_generation(metrics: Metrics) -> None:
    metrics.observe("a", "1", Observed(batch_size=[3]))
    page, _ = metrics.render("")
    assert b"trine_batch_size_count{" in page
    assert b"trine_time_to_first_token_seconds_count{" not in page


def test_an_engine_is_in_one_state(metrics: Metrics) -> None:
    metrics.observe("a", "1", OBSERVED)
    for state in ENGINE_STATES:
        metrics.engine_state("a", "1", state)
        known = {"checkpoint": "a", "version": "1"}
        states = {each: value(metrics, "trine_engine_state", **known, state=each) for each in ENGINE_STATES}
        assert states == {each: float(each == state) for each in ENGINE_STATES}
    assert value(metrics, "trine_engine_restarts_total", **known) == 0


def test_a_state_that_is_none_is_a_bug(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="no state"):
        metrics.engine_state("a", "1", "sleeping")


def test_a_dead_engine_runs_nothing(metrics: Metrics) -> None:
    metrics.observe("a", "1", OBSERVED)
    metrics.engine_state("a", "1", "restarting")
    for name in ("requests_waiting", "requests_running", "kv_cache_usage_ratio", "prefix_cache_bytes"):
        assert value(metrics, f"trine_{name}", checkpoint="a", version="1") == 0, name


def test_lifecycle_of_versions(metrics: Metrics) -> None:
    metrics.engine_loaded("a", "1", 1.5)
    metrics.restarted("a", "1")
    metrics.restarted("a", "1")
    metrics.parity("a", "1", PARITY)
    metrics.registered("ready")
    metrics.rejected("queue_full")
    known = {"checkpoint": "a", "version": "1"}
    assert value(metrics, "trine_engine_load_duration_seconds", **known) == 1.5
    assert value(metrics, "trine_engine_restarts_total", **known) == 2
    assert value(metrics, "trine_parity_drift", **known, check="logits") == 2e-6
    assert value(metrics, "trine_registrations_total", outcome="ready") == 1
    assert value(metrics, "trine_rejected_total", reason="queue_full") == 1
    assert value(metrics, "trine_build_info", version=trine.__version__) == 1


def test_a_forgotten_version_leaves_nothing_and_takes_nothing_along(metrics: Metrics) -> None:
    fill(metrics, "a", "2")
    before, _ = metrics.render("")
    fill(metrics, "a", "1")
    fill(metrics, "b", "1")
    metrics.forget("a", "1")
    metrics.forget("b", "1")
    after, _ = metrics.render("")
    ours = [line for line in after.splitlines() if line.startswith((b"trine_", b"grpc_"))]
    assert ours == [line for line in before.splitlines() if line.startswith((b"trine_", b"grpc_"))]


def test_rpcs_are_counted_under_the_standard_names(metrics: Metrics) -> None:
    metrics.grpc_started("trine.v1.InferenceService", "Classify", "unary")
    metrics.grpc_handled("trine.v1.InferenceService", "Classify", "unary", "OK", 0.01)
    method = {
        "grpc_service": "trine.v1.InferenceService",
        "grpc_method": "Classify",
        "grpc_type": "unary",
    }
    assert value(metrics, "grpc_server_started_total", **method) == 1
    assert value(metrics, "grpc_server_handled_total", **method, grpc_code="OK") == 1
    assert value(metrics, "grpc_server_handling_seconds_count", **method) == 1


@pytest.mark.parametrize("checkpoints", [0, 1, 10])
def test_the_page_parses_in_both_formats(metrics: Metrics, checkpoints: int) -> None:
    for index in range(checkpoints):
        fill(metrics, f"name-{index}.x_y")
    text, kind = metrics.render("text/plain")
    assert kind.startswith("text/plain")
    families = {family.name for family in parse_text(text.decode())}
    assert {"trine_requests", "process_resident_memory_bytes"} <= families
    assert b"_created" not in text, "a second series for each, which nobody reads"
    page, kind = metrics.render("application/openmetrics-text")
    assert kind.startswith("application/openmetrics-text")
    parsed = list(openmetrics.text_string_to_metric_families(page.decode()))  # type: ignore[no-untyped-call]
    assert sum(len(family.samples) for family in parsed) > 100 * checkpoints


def test_ten_checkpoints_fit_the_budget(metrics: Metrics) -> None:
    for index in range(10):
        fill(metrics, f"name-{index}")
    for method in range(20):
        metrics.grpc_started("trine.v1.InferenceService", f"M{method}", "unary")
        for code in ("OK", "UNAVAILABLE", "INVALID_ARGUMENT"):
            metrics.grpc_handled("trine.v1.InferenceService", f"M{method}", "unary", code, 0.1)
    series = sum(len(family.samples) for family in metrics.registry.collect())
    assert series <= 2500


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is missing"
)
def test_promtool_finds_nothing(metrics: Metrics) -> None:
    fill(metrics, "a")
    metrics.grpc_started("s", "m", "unary")
    metrics.grpc_handled("s", "m", "unary", "OK", 0.1)
    metrics.registered("ready")
    metrics.rejected("queue_full")
    page, _ = metrics.render("text/plain; version=0.0.4")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
