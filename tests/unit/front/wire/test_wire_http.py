"""The HTTP port."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_fd_to_metric_families

from tests.unit.front.wire.fakes import FakeStatus
from tests.unit.front.wire.rig import settings
from trine import errors
from trine.front.serving.status import Status
from trine.front.wire.http import HttpPort
from trine.telemetry.metrics import Metrics


@pytest.fixture
def status() -> FakeStatus:
    return FakeStatus()


@pytest.fixture
async def port(status: FakeStatus) -> AsyncIterator[int]:
    http = HttpPort(settings(), cast(Status, status), Metrics())
    yield await http.start()
    await http.stop()


async def get(port: int, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept}) as response,
    ):
        assert response.headers["Server"] == "trine"
        return response.status, response.headers["Content-Type"], await response.text()


async def test_the_page_in_text_format(port: int) -> None:
    code, kind, page = await get(port, "/metrics")
    assert (code, kind.split(";")[0]) == (200, "text/plain")
    names = {family.name for family in text_fd_to_metric_families(io.StringIO(page))}
    assert {"trine_requests", "trine_build_info", "process_cpu_seconds", "python_info"} <= names


async def test_the_page_in_openmetrics(port: int) -> None:
    code, kind, page = await get(port, "/metrics", "application/openmetrics-text; version=1.0.0")
    assert (code, kind.split(";")[0]) == (200, "application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {"trine_requests", "trine_build_info"} <= names


async def test_readiness_follows_the_status(port: int, status: FakeStatus) -> None:
    assert (await get(port, "/readyz"))[::2] == (503, "unready")
    status.tell("", True)
    assert (await get(port, "/readyz"))[::2] == (200, "ready")
    status.tell("", False)
    assert (await get(port, "/readyz"))[0] == 503


async def test_liveness_does_not_follow_the_status(port: int) -> None:
    assert (await get(port, "/livez"))[::2] == (200, "live")


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/metrics/x", "/v2/health/ready", "/..%2fmetrics", "/debug"]
)
async def test_nothing_else_is_there(port: int, path: str) -> None:
    assert (await get(port, path))[0] == 404


async def test_a_taken_port_is_named_with_its_setting(port: int, status: FakeStatus) -> None:
    other = HttpPort(settings(http_port=port), cast(Status, status), Metrics())
    with pytest.raises(errors.NotPossible) as caught:
        await other.start()
    assert str(port) in caught.value.message
    assert "TRINE_HTTP_PORT" in caught.value.message
    assert (await get(port, "/livez"))[0] == 200
