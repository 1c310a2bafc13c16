"""The HTTP port: the metrics page and the probes. Front process, event loop only."""

from __future__ import annotations

from aiohttp import web

from trine.config import Settings
from trine.errors import NotPossible
from trine.front.serving.status import Status
from trine.telemetry.metrics import Metrics


class HttpPort:
    """GET /metrics, /livez and /readyz; nothing else is here."""

    def __init__(self, settings: Settings, status: Status, metrics: Metrics) -> None:
        self._settings = settings
        self._status = status
        self._metrics = metrics
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/livez", self._get_livez),
                web.get("/readyz", self._get_readyz),
            ]
        )
        application.on_response_prepare.append(_hide_versions)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> int:
        """Listen; the port. Raises NotPossible when it cannot be had."""
        host, port = self._settings.host, self._settings.http_port
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise NotPossible(
                f"cannot listen on port {port} of {host}: it is taken, or may not be opened; "
                "set TRINE_HTTP_PORT to another port, or to 0 for any free one"
            ) from None
        actual: int = self._runner.addresses[0][1]
        return actual

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _get_metrics(self, request: web.Request) -> web.Response:
        page, content_type = self._metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=page, headers={"Content-Type": content_type})

    async def _get_livez(self, _: web.Request) -> web.Response:
        """The loop turns; nothing more is meant, or a slow engine would have the front restarted."""
        return web.Response(text="live")

    async def _get_readyz(self, _: web.Request) -> web.Response:
        ready = self._status.ready
        return web.Response(text="ready" if ready else "unready", status=200 if ready else 503)


async def _hide_versions(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "trine"
