"""What `mcpgw up` prints for a person to paste: a request that lists the tools, and a client's settings.

The request is Python's standard library alone and of the stateless protocol revision, so that it works
on the same bare machine that ran `./run up`. Whatever else comes than the tools is said in one line.
"""

import json
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")  # no proxy of the environment's leads there
PROTOCOL = "2026-07-28"
ANSWER_S = 660  # longer than a gateway may be told to hold a request


def shell_snippet(url: str, key: str, user: str) -> str:
    """A command for the shell that lists the tools of ``user``'s own container."""
    headers = {
        "Authorization": f"Bearer {key}",
        "X-App-User": user,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/list",
    }
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientInfo": {"name": "snippet", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    proxies = "{}" if urlsplit(url).hostname in LOOPBACK_NAMES else ""
    return f"""python3 - <<'END'
import json, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({proxies}))
request = urllib.request.Request(
    {url!r},
    json.dumps({body!r}).encode(),
    {headers!r},
)
try:
    try:
        answer = opener.open(request, timeout={ANSWER_S})
    except urllib.error.HTTPError as refused:
        answer = refused
    text = answer.read().decode(errors="replace")
except Exception as error:
    raise SystemExit(f"No answer: {{error}}")
try:
    message = json.JSONDecoder().raw_decode(text.split("data: ", 1)[-1].strip())[0]
    if "result" not in message:
        error = message.get("error", message)
        raise SystemExit(error.get("message") or f"{{error['title']}}. {{error['detail']}}")
    print("\\n".join(tool["name"] for tool in message["result"]["tools"]))
except Exception:
    raise SystemExit(f"Not understood ({{answer.status}}): {{text[:500]}}")
END"""


def client_settings(name: str, url: str, key: str, user: str) -> str:
    """An `mcpServers` entry, as Claude Code, Cursor and others read it."""
    headers = {"Authorization": f"Bearer {key}", "X-App-User": user}
    return json.dumps({"mcpServers": {name: {"type": "http", "url": url, "headers": headers}}}, indent=2)
