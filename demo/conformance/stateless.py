"""Tools that show how the stateless era treats a request: its capabilities, its stream, its subscriptions."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
)

FORM: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
NEEDED = MissingRequiredClientCapabilityErrorData(
    required_capabilities=ClientCapabilities(sampling=SamplingCapability())
)

AnyContext = Context[Any, Any]


def add_stateless(server: MCPServer[Any]) -> None:
    """Register what the newer era alone is asked about."""
    _add_requirements(server)
    _add_changes(server)


def _add_requirements(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_missing_capability(ctx: AnyContext) -> str:
        """Refuse a client that cannot sample."""
        if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
            needed = NEEDED.model_dump(by_alias=True, mode="json", exclude_none=True)
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs a client that samples", needed
            )
        return "the client samples"

    @server.tool()
    async def test_logging_tool() -> str:
        """Log nothing, because nobody asked for a log level."""
        return "nothing was logged"

    @server.tool()
    async def test_streaming_elicitation(ctx: AnyContext) -> str | InputRequiredResult:
        """Ask in the answer, and never by a request of our own on the stream."""
        if ctx.input_responses:
            return "answered"
        form = ElicitRequestFormParams(message="What is your name?", requested_schema=FORM)
        return InputRequiredResult(input_requests={"user_name": ElicitRequest(params=form)})


def _add_changes(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_trigger_tool_change(ctx: AnyContext) -> str:
        """Tell subscribers that the tools changed."""
        await ctx.notify_tools_changed()
        return "told"

    @server.tool()
    async def test_trigger_prompt_change(ctx: AnyContext) -> str:
        """Tell subscribers that the prompts changed."""
        await ctx.notify_prompts_changed()
        return "told"
