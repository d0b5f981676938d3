"""What only the session era has: requests to the client while a tool runs, log messages, subscriptions.

Events are kept, so that a client which was cut off may read on (`Last-Event-ID`); the store is bounded.
"""

import asyncio
import warnings
from collections import deque
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ElicitResult,
    EmptyResult,
    JSONRPCMessage,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    UnsubscribeRequestParams,
)

EVENTS_KEPT_MAX = 10_000
RETRY_MS = 100
STEP_S = 0.05
RECONNECT_S = 0.3

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)
"""This module is about what the newer era deprecates."""

AnyContext = Context[Any, Any]

DEFAULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
    "required": [],
}


def _titled(prefix: str, title: str) -> list[dict[str, str]]:
    return [{"const": f"{prefix}{n}", "title": f"{word} {title}"} for n, word in enumerate(ORDINALS, 1)]


ORDINALS = ("First", "Second", "Third")
OPTIONS = ["option1", "option2", "option3"]
ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {"type": "string", "oneOf": _titled("value", "Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled("value", "Choice")}},
    },
    "required": [],
}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}


def add_sessions(server: MCPServer[Any]) -> None:
    """Register what needs a session."""
    _add_requests_to_the_client(server)
    _add_logging(server)
    _add_completion(server)
    _add_requests_of_sessions(server)


def _add_requests_to_the_client(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_sampling(prompt: str, ctx: AnyContext) -> str:
        """Have the client's model answer the prompt."""
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        try:
            answer = await ctx.session.create_message(
                [message], max_tokens=100, related_request_id=ctx.request_id
            )
        except MCPError as error:
            raise ToolError(f"the client does not sample: {error}") from error
        text = answer.content.text if isinstance(answer.content, TextContent) else answer.content.type
        return f"LLM response: {text}"

    @server.tool()
    async def test_elicitation(message: str, ctx: AnyContext) -> str:
        """Ask the client's user."""
        return f"User response: {_told(await _elicited(ctx, message, PERSON))}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: AnyContext) -> str:
        """Ask with a default in every field."""
        return f"Elicitation completed: {_told(await _elicited(ctx, 'Please review the defaults', DEFAULTS))}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: AnyContext) -> str:
        """Ask with every kind of choice."""
        return f"Elicitation completed: {_told(await _elicited(ctx, 'Please choose', ENUMS))}"


async def _elicited(ctx: AnyContext, message: str, schema: dict[str, Any]) -> ElicitResult:
    try:
        answer: ElicitResult = await ctx.session.elicit_form(message, schema, ctx.request_id)
    except MCPError as error:
        raise ToolError(f"the client asks nobody: {error}") from error
    return answer


def _told(answer: ElicitResult) -> str:
    return f"action={answer.action}, content={answer.content or {}}"


def _add_logging(server: MCPServer[Any]) -> None:
    @server.tool(structured_output=False)
    async def test_tool_with_logging(ctx: AnyContext) -> TextContent:
        """Log three messages."""
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(message)
            await asyncio.sleep(STEP_S)
        return TextContent(type="text", text="messages were logged")

    @server.tool(structured_output=False)
    async def test_reconnection(ctx: AnyContext) -> TextContent:
        """Close the stream in the middle; the client comes back for the rest."""
        await ctx.close_sse_stream()
        await asyncio.sleep(RECONNECT_S)
        return TextContent(type="text", text="Reconnection test completed successfully")


def _add_completion(server: MCPServer[Any]) -> None:
    async def complete(
        _ctx: ServerRequestContext[Any, Any], _params: CompleteRequestParams
    ) -> CompleteResult:
        return CompleteResult(completion=Completion(values=[], total=0, has_more=False))

    server._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)


def _add_requests_of_sessions(server: MCPServer[Any]) -> None:
    """Requests that the newer era dropped; the SDK leaves them to its low-level server."""

    async def acknowledge(_ctx: ServerRequestContext[Any, Any], _params: Any) -> EmptyResult:
        return EmptyResult()

    low_level = server._lowlevel_server
    low_level.add_request_handler("logging/setLevel", SetLevelRequestParams, acknowledge)
    low_level.add_request_handler("resources/subscribe", SubscribeRequestParams, acknowledge)
    low_level.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, acknowledge)


class KeptEvents(EventStore):
    """The latest events of all streams, numbered as they come."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, str, JSONRPCMessage | None]] = deque(maxlen=EVENTS_KEPT_MAX)
        self._latest = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event and number it. A message of None only marks where a stream begins."""
        self._latest += 1
        self._events.append((self._latest, stream_id, message))
        return str(self._latest)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send again what its stream had after this event; None for an event that is not kept."""
        if not last_event_id.isdecimal():
            return None
        last = int(last_event_id)
        stream = next((stream for number, stream, _ in self._events if number == last), None)
        if stream is None:
            return None
        later = [event for event in self._events if event[0] > last and event[1] == stream]
        for number, _, message in later:
            if message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
