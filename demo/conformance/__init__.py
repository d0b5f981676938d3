"""What the MCP conformance suite expects of a server: tools, resources and prompts of agreed names.

Here only while DEMO_CONFORMANCE=1, because people who list the demo's tools should see the demo's tools.
The names and texts are the suite's. Source: `@modelcontextprotocol/conformance`, server scenarios.

`contents` answers, `questions` asks back in the stateless era, `sessions` and `stateless` have what only the
one and only the other era knows.
"""

from typing import Any

from mcp.server.mcpserver import MCPServer

from demo.conformance.contents import add_contents
from demo.conformance.questions import add_questions
from demo.conformance.sessions import RETRY_MS, KeptEvents, add_sessions
from demo.conformance.stateless import add_stateless

__all__ = ["RETRY_MS", "KeptEvents", "add_conformance"]


def add_conformance(server: MCPServer[Any]) -> None:
    """Register everything. Call it before other tools: the suite calls the first one without arguments."""
    add_contents(server)
    add_questions(server)
    add_sessions(server)
    add_stateless(server)
