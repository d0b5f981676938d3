"""How each client is connected: what a person pastes or clicks. Pure.

Source: the clients' own documentation (Claude custom connectors; Claude Code `mcp add`; Cursor install links;
VS Code MCP URL handler; ChatGPT developer mode; Codex `config.toml`), autumn 2026.
"""

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote, urlencode

CLIENT_NAME = "mcp-gateway"


@dataclass(frozen=True, slots=True)
class SetUp:
    """One client: what to do there, and a link that does it or a text to paste; empty where there is none."""

    client: str
    words: str
    link: str = ""
    snippet: str = ""

    @property
    def key(self) -> str:
        return self.client.lower().replace(" ", "-")


def set_ups(url: str, name: str = CLIENT_NAME) -> tuple[SetUp, ...]:
    """For the MCP server at ``url``, which asks for sign-in by itself.

    Claude and ChatGPT connect from their vendors' clouds, and to https alone.
    """
    from_afar = "" if url.startswith("https:") else " It comes from the internet, and needs an https address."
    return (
        SetUp(
            "Claude",
            "Settings, Connectors, Add custom connector; paste the address." + from_afar,
            snippet=url,
        ),
        SetUp(
            "Claude Code",
            "Paste into a terminal, then choose Authenticate under /mcp.",
            snippet=f"claude mcp add --transport http {name} {url}",
        ),
        SetUp("Cursor", "Opens Cursor and asks there.", link=_cursor(name, url)),
        SetUp("VS Code", "Opens VS Code and asks there.", link=_vscode(name, url)),
        SetUp(
            "ChatGPT",
            "Settings, Connectors, Advanced, Developer mode; then Create, and paste the address." + from_afar,
            snippet=url,
        ),
        SetUp(
            "Codex",
            "Paste into ~/.codex/config.toml, then run: codex mcp login " + name,
            snippet=f'[mcp_servers.{name}]\nurl = "{url}"',
        ),
    )


def _cursor(name: str, url: str) -> str:
    config = base64.b64encode(json.dumps({"url": url}).encode()).decode()
    return "cursor://anysphere.cursor-deeplink/mcp/install?" + urlencode({"name": name, "config": config})


def _vscode(name: str, url: str) -> str:
    return "vscode:mcp/install?" + quote(json.dumps({"name": name, "type": "http", "url": url}), safe="")
