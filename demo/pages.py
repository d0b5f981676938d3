"""The pages people see, and what the tests read of a request: no state, no streaming.

The front page has no inline script, so that it also works under a strict content policy, and calls only
relative URLs, so that it works below any path.
"""

import html
import socket
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from demo.calls import CallLog
from demo.settings import Settings

STATIC_DIR = Path(__file__).parent / "static"

_FRONT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Demo workload</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/demo.css">
<h1>Demo workload</h1>
<p id="greeting">{greeting}</p>
<p>This page comes from the container <code id="hostname">{hostname}</code>.</p>
<dl>
  <dt>WebSocket echo</dt><dd id="websocket">connecting…</dd>
  <dt>Your token</dt><dd id="token">{token}</dd>
  <dt>Relative call</dt><dd id="relative">calling…</dd>
</dl>
<script src="static/demo.js"></script>
</html>
"""

_LINK = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Hosted link</title>
<h1>Hosted link</h1>
<p>Home <code id="home">{home}</code>, link <code id="link">{link}</code>,
container <code id="hostname">{hostname}</code>.</p>
</html>
"""


async def front(request: Request) -> Response:
    """The page with a script, a WebSocket, a relative call and what the user filled in."""
    settings: Settings = request.app.state.settings
    shown = {
        "hostname": socket.gethostname(),
        "greeting": settings.greeting or "Hello.",
        "token": f"{len(settings.token)} characters" if settings.token else "not filled in",
    }
    return HTMLResponse(_FRONT.format(**{key: html.escape(value) for key, value in shown.items()}))


async def link(request: Request) -> Response:
    """The page of a hosted link, `/link/<hostname>-<id>`."""
    home, dash, link_id = request.path_params["name"].partition("-")
    if not (home and dash and link_id):
        return PlainTextResponse("a link is /link/<hostname>-<id>\n", 404)
    shown = {"home": home, "link": link_id, "hostname": socket.gethostname()}
    return HTMLResponse(_LINK.format(**{key: html.escape(value) for key, value in shown.items()}))


async def headers(request: Request) -> Response:
    """Every header that reached this server, in order and with doubles, and the path it was asked for."""
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
    path = request.scope.get("raw_path", b"").decode("latin-1")
    return JSONResponse({"hostname": socket.gethostname(), "path": path, "headers": pairs})


async def cookie(request: Request) -> Response:
    """Set a cookie of any name, as a workload that wants to overwrite the gateway's would."""
    response = PlainTextResponse("set\n")
    response.set_cookie(request.query_params.get("name", "demo"), request.query_params.get("value", "1"))
    return response


async def calls(request: Request) -> Response:
    """What became of the long calls, or of the one with `?label=`."""
    log: CallLog = request.app.state.calls
    return JSONResponse({"calls": log.snapshot(request.query_params.get("label"))})
