"""Puts the demo together: the SDK's own app at /mcp, and our routes beside it.

The SDK's app speaks both eras on one endpoint: sessions up to 2025-11-25 and the stateless 2026-07-28.
It checks no Host unless it is told which, because who may come is the gateway's business. Next: `demo.tools`.
"""

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from demo import control, pages, streams
from demo.calls import CallLog, DisconnectNotice
from demo.getgather import AnyBundle, add_getgather_tools, getgather_routes
from demo.settings import Settings
from demo.tools import add_tools

MCP_BODY_MAX_BYTES = 16 * 1024 * 1024


def build_app(settings: Settings) -> Starlette:
    """The whole demo as one ASGI application."""
    calls = CallLog()
    app = _mcp_app(settings, calls)
    app.router.redirect_slashes = False
    app.router.routes.extend(_routes(settings))
    app.add_middleware(DisconnectNotice)
    app.add_middleware(TrimmedHeaders)
    if settings.getgather:
        app.add_middleware(AnyBundle)
    app.state.calls, app.state.healthy, app.state.ballast = calls, True, []
    app.state.settings = settings
    return app


class TrimmedHeaders:
    """Middleware that takes white space off the ends of header values, which uvicorn's parser leaves there.

    Source: RFC 9110 section 5.5; the conformance suite asks for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request with trimmed headers."""
        if "headers" in scope:
            scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self._app(scope, receive, send)


def _mcp_app(settings: Settings, calls: CallLog) -> Starlette:
    server: MCPServer[Any] = MCPServer("mcp-gateway-demo", version="1", log_level="WARNING")
    resumable: dict[str, Any] = {}
    if settings.conformance:
        from demo import conformance  # noqa: PLC0415 - who does not ask for it should not wait for it

        conformance.add_conformance(server)
        resumable = {"event_store": conformance.KeptEvents(), "retry_interval": conformance.RETRY_MS}
    add_tools(server, settings.data_dir, calls)
    if settings.getgather:
        add_getgather_tools(server, settings.data_dir)
    return server.streamable_http_app(
        streamable_http_path="/mcp",
        max_request_body_size=MCP_BODY_MAX_BYTES,
        transport_security=_host_check(settings),
        **resumable,
    )


def _host_check(settings: Settings) -> TransportSecuritySettings:
    hosts = list(settings.allowed_hosts)
    origins = [f"http://{host}" for host in hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=bool(hosts), allowed_hosts=hosts, allowed_origins=origins
    )


def _routes(settings: Settings) -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        Route("/", pages.front),
        Route("/link/{name:path}", pages.link),
        Route("/headers", pages.headers),
        Route("/cookie", pages.cookie),
        Route("/calls", pages.calls),
        Route("/health", control.health),
        Route("/upload", streams.upload, methods=["POST", "PUT"]),
        Route("/download", streams.download),
        Route("/sse", streams.sse),
        WebSocketRoute("/ws", streams.websocket),
        Mount("/static", StaticFiles(directory=pages.STATIC_DIR)),
    ]
    if settings.controls_allowed:
        routes.append(Route("/control", control.control, methods=["POST"]))
    if settings.getgather:
        return [*getgather_routes(), *routes]  # its /link is another one
    return routes
