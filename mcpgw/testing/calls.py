"""One MCP call as a program makes it: a plain request of the stateless revision, held as long as it takes.

For tests and benchmarks that want an answer and its status, not a client. Standard library alone.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PROTOCOL = "2026-07-28"
ANSWER_S_MAX = 120.0
META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "testing", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message, also out of an event stream; the problem document of a refusal."""
        text = self.body.decode()
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
            text = lines[-1]
        message: dict[str, Any] = json.loads(text)
        return message

    @property
    def is_result(self) -> bool:
        """Whether a tool gave something back; an event stream says after its 200 that none did."""
        return self.status == 200 and "result" in self.message

    @property
    def result(self) -> Any:
        """What the tool gave back. Fails with all that was said where it is not 200."""
        assert self.status == 200, f"{self.status}: {self.body[:500]!r}"
        return self.message["result"]["structuredContent"]


def call_tool(
    url: str, headers: Mapping[str, str], tool: str, arguments: Mapping[str, Any] | None = None, **more: str
) -> Answer:
    """``tools/call`` at ``url``; ``more`` are further headers, with underscores for dashes."""
    params = {"name": tool, "arguments": dict(arguments or {}), "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    extra = {name.replace("_", "-"): value for name, value in more.items()}
    return post(url, {**mcp_headers("tools/call", tool), **headers, **extra}, json.dumps(body).encode())


def mcp_headers(method: str, name: str = "") -> dict[str, str]:
    """What a request of the stateless revision carries."""
    return {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": method,
        **({"Mcp-Name": name} if name else {}),
    }


def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    return ask("POST", url, headers, body)


def ask(method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """One request on a connection of its own. Raises OSError, HTTPException."""
    target = urlsplit(url)
    assert target.hostname is not None, "an absolute URL"
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=ANSWER_S_MAX)
    try:
        path = target.path + (f"?{target.query}" if target.query else "")
        connection.request(method, path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()
