"""The surface of mcp-getgather, with nothing behind it: the same paths and links, for tests of its manifest.

What it does to a request is what the real one does; what it shows is made up. `demo.app` adds it where
DEMO_GETGATHER asks. Source: mcp-getgather, getgather/main.py and getgather/mcp/dpage.py; for /link, /api/auth
and /api/link, which images had until November 2025, getgather/api/routes and frontend/src/pages/Link.tsx.
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
SITE = "amazon"
PROXIES_FILE = "proxies.yaml"

_REDIRECT = """<!doctype html>
<form id="redirect" action="/dpage/{id}" method="post"></form>
<script>document.getElementById("redirect").submit();</script>
"""
_FINISHED = "<!doctype html>\n<title>Sign in</title>\n<p>Finished! You can close this window now.</p>\n"
_OLDER = "<!doctype html>\n<title>GetGather</title>\n<script type='module' src='/__assets/a.js'></script>\n"


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
        origin, signin_id = f"{scheme}://{host}", _signin_id()
        return {
            "url": f"{origin}/dpage/{signin_id}",
            "older_url": f"{origin}/link/{signin_id}",
            "signin_id": signin_id,
            "path": headers.get("x-demo-path", ""),
        }

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
        *_older_routes(),
        Route("/api/docs-mcp", lambda _: JSONResponse([{"name": "media", "route": "/mcp-media"}])),
        Route("/extended-health", lambda _: PlainTextResponse("OK IP: 192.0.2.1")),
        Route("/__static/assets/{path:path}", lambda _: PlainTextResponse("asset")),
    ]


def _older_routes() -> list[BaseRoute]:
    """The hosted links of older images: a page, and what its script asks for by itself."""
    return [
        Route("/link/{id}", lambda _: HTMLResponse(_OLDER)),
        Route("/__assets/{path:path}", lambda _: PlainTextResponse("", media_type="text/javascript")),
        Route("/api/link/create", _create_link, methods=["POST"]),
        Route("/api/link/status/{id}", _link_status, methods=["GET", "PATCH"]),
        Route("/api/auth/v1/{site}", _auth, methods=["POST"]),
        Route("/api/auth/v1/{site}/{id}", _auth, methods=["POST"]),
        Route("/api/auth/{site}", _to_versioned_auth, methods=["POST"]),
        Route("/api/auth/{site}/{id}", _to_versioned_auth, methods=["POST"]),
    ]


def _signin_id() -> str:
    return f"{os.environ.get('HOSTNAME', '')}-{LINK_ID}"


async def _live(request: Request) -> Response:
    if request.path_params["path"]:
        return PlainTextResponse("export default 1;", media_type="text/javascript")
    return HTMLResponse("<!doctype html>\n<title>noVNC</title>\n<script src='./core/rfb.js'></script>\n")


async def _dpage(request: Request) -> Response:
    page_id = request.path_params["id"]
    if page_id != _signin_id():
        return PlainTextResponse("Invalid page id", 404)
    return HTMLResponse(_FINISHED if request.method == "POST" else _REDIRECT.format(id=page_id))


async def _create_link(_: Request) -> Response:
    return JSONResponse({"link_id": _signin_id()})


async def _link_status(request: Request) -> Response:
    link_id = request.path_params["id"]
    if link_id != _signin_id():
        return JSONResponse({"detail": f"Hosted link '{link_id}' not found"}, 404)
    status = (await request.json())["status"] if request.method == "PATCH" else "pending"
    return JSONResponse({"link_id": link_id, "brand_id": SITE, "status": status})


async def _auth(request: Request) -> Response:
    if request.path_params["site"] != SITE:
        return JSONResponse({"detail": [{"msg": "There is no such site"}]}, 422)
    return JSONResponse({"status": "FINISHED", "link_id": request.path_params.get("id")})


async def _to_versioned_auth(request: Request) -> Response:
    return RedirectResponse(request.url.path.replace("/auth/", "/auth/v1/", 1), 307)


async def _websockify(socket: WebSocket) -> None:
    """Greet as a VNC server does, then give back bytes as bytes."""
    await socket.accept()
    await socket.send_bytes(RFB_GREETING)
    try:
        while True:
            await socket.send_bytes(await socket.receive_bytes())
    except WebSocketDisconnect:
        return
