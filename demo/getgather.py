"""The surface of mcp-getgather, with nothing behind it: the same paths and links, for tests of its manifest.

What it does to a request is what the real one does; what it shows is made up. `demo.app` adds it where
DEMO_GETGATHER asks. Source: mcp-getgather, getgather/main.py and getgather/mcp/dpage.py.
"""

import os
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

RFB_GREETING = b"RFB 003.008\n"
LINK_ID = "2345abcd"
PROXIES_FILE = "proxies.yaml"

_REDIRECT = """<!doctype html>
<form id="redirect" action="/dpage/{id}" method="post"></form>
<script>document.getElementById("redirect").submit();</script>
"""
_FINISHED = "<!doctype html>\n<title>Sign in</title>\n<p>Finished! You can close this window now.</p>\n"


class AnyBundle:
    """Middleware that serves /mcp at every /mcp-<bundle>, with or without a slash at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        if scope["type"] == "http" and scope["path"].startswith("/mcp"):
            scope = {**scope, "path": "/mcp", "raw_path": b"/mcp", "headers": _with_bundle(scope)}
        await self._app(scope, receive, send)


def _with_bundle(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [*scope["headers"], (b"x-demo-path", scope["path"].encode())]


def add_getgather_tools(server: MCPServer[Any], data_dir: Path) -> None:
    """Register the tool that begins a sign-in, and one that tells what proxies there are."""

    @server.tool()
    async def sign_in(ctx: Context[Any, Any]) -> dict[str, str]:
        """Give a link to go on at, as its hostname and its caller's own origin have it."""
        request = ctx.request_context.request
        headers = request.headers if request is not None else {}
        host, scheme = headers.get("x-forwarded-host", ""), headers.get("x-forwarded-proto", "http")
        signin_id = f"{os.environ.get('HOSTNAME', '')}-{LINK_ID}"
        path = headers.get("x-demo-path", "")
        return {"url": f"{scheme}://{host}/dpage/{signin_id}", "signin_id": signin_id, "path": path}

    @server.tool()
    async def proxies() -> str:
        """Tell what the file of proxies says."""
        file = data_dir / PROXIES_FILE
        return file.read_text("utf-8") if file.exists() else ""


def getgather_routes() -> list[BaseRoute]:
    """Every page of it."""
    return [
        Route("/live", lambda _: RedirectResponse("/live/", 301)),
        Route("/live/{path:path}", _live),
        WebSocketRoute("/websockify", _websockify),
        Route("/dpage/{id}", _dpage, methods=["GET", "POST"]),
        Route("/api/docs-mcp", lambda _: JSONResponse([{"name": "media", "route": "/mcp-media"}])),
        Route("/extended-health", lambda _: PlainTextResponse("OK IP: 192.0.2.1")),
        Route("/__static/assets/{path:path}", lambda _: PlainTextResponse("asset")),
    ]


async def _live(request: Request) -> Response:
    if request.path_params["path"]:
        return PlainTextResponse("export default 1;", media_type="text/javascript")
    return HTMLResponse("<!doctype html>\n<title>noVNC</title>\n<script src='./core/rfb.js'></script>\n")


async def _dpage(request: Request) -> Response:
    page_id = request.path_params["id"]
    if page_id != f"{os.environ.get('HOSTNAME', '')}-{LINK_ID}":
        return PlainTextResponse("Invalid page id", 404)
    return HTMLResponse(_FINISHED if request.method == "POST" else _REDIRECT.format(id=page_id))


async def _websockify(socket: WebSocket) -> None:
    """Greet as a VNC server does, then give back bytes as bytes."""
    await socket.accept()
    await socket.send_bytes(RFB_GREETING)
    try:
        while True:
            await socket.send_bytes(await socket.receive_bytes())
    except WebSocketDisconnect:
        return
