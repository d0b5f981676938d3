"""The snippet that `mcpgw up` prints, pasted into a shell: the tools, or one line why there are none."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from gateway.problems import unavailable
from mcpgw.snippet import shell_snippet
from mcpgw.up import is_answered

PATIENCE_S = 60.0
TOOLS = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "echo"}, {"name": "add"}]}})
REFUSED = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "No image demo:9."}})
PROBLEM = unavailable("The container is not ready", "Its image cannot be pulled.", "ImagePullFailed", 5.0)


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that answers every POST like this; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join()


def paste(url: str) -> "subprocess.CompletedProcess[str]":
    snippet = shell_snippet(url, "key", "developer")
    return subprocess.run(
        ("sh", "-c", snippet), capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd="/"
    )


@pytest.mark.parametrize(
    "body",
    [
        TOOLS,
        json.dumps(json.loads(TOOLS), indent=2),
        f": held\n\n: held\n\nevent: message\ndata: {TOOLS}\n\n",
    ],
    ids=["JSON", "JSON on many lines", "events"],
)
def test_it_lists_the_tools(body: str) -> None:
    with answering(200, body) as url:
        done = paste(url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "echo\nadd\n", "")


def test_a_proxy_of_the_environment_is_not_asked_for_what_is_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering(200, TOOLS) as url:
        assert paste(url).stdout == "echo\nadd\n"
        assert is_answered(url)
        elsewhere = paste(url.replace("127.0.0.1", "gateway.example"))
    assert "Connection refused" in elsewhere.stderr, "the proxy's, which is not there"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(
            503,
            json.dumps(PROBLEM.members()),
            "The container is not ready. Its image cannot be pulled.\n",
            id="the gateway's problem",
        ),
        pytest.param(200, REFUSED, "No image demo:9.\n", id="a JSON-RPC error"),
        pytest.param(400, REFUSED, "No image demo:9.\n", id="a JSON-RPC error with its status"),
        pytest.param(200, f": held\n\ndata: {REFUSED}\n\n", "No image demo:9.\n", id="an error as an event"),
        pytest.param(502, "<h1>Bad</h1>", "Not understood (502): <h1>Bad</h1>\n", id="no JSON"),
        pytest.param(200, "[]", "Not understood (200): []\n", id="no message"),
    ],
)
def test_whatever_else_comes_is_said_in_one_line(status: int, body: str, said: str) -> None:
    with answering(status, body) as url:
        done = paste(url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_gateway_that_is_not_there_is_said_too() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = paste(f"http://127.0.0.1:{nobody.getsockname()[1]}/mcp")
    assert done.returncode == 1
    assert done.stderr.startswith("No answer: ")
    assert "Traceback" not in done.stderr
