"""Puts the demo together: the SDK's own app at /mcp, and our routes beside it.

The SDK's app speaks both eras on one endpoint: sessions up to 2025-11-25 and the stateless 2026-07-28.
It checks no Host here, because who may come is the gateway's business. Next: `demo.tools`.
"""

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from demo import control, pages, streams
from demo.calls import CallLog, DisconnectNotice
from demo.settings import Settings
from demo.tools import add_tools

MCP_BODY_MAX_BYTES = 16 * 1024 * 1024


def build_app(settings: Settings) -> Starlette:
    """The whole demo as one ASGI application."""
    calls = CallLog()
    server: MCPServer[Any] = MCPServer("mcp-gateway-demo", version="1", log_level="WARNING")
    add_tools(server, settings.data_dir, calls)
    app = server.streamable_http_app(
        streamable_http_path="/mcp",
        max_request_body_size=MCP_BODY_MAX_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app.router.redirect_slashes = False
    app.router.routes.extend(_routes(settings))
    app.add_middleware(DisconnectNotice)
    app.state.calls, app.state.healthy, app.state.ballast = calls, True, []
    return app


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
    return routes
