"""Tools and a prompt that need something of the client first, in the stateless era's way.

They answer `input_required` with their questions; the client asks again with the answers. What must
survive between the rounds goes out as request state, which the SDK seals, so a changed one is refused
before it reaches a tool.
"""

from typing import Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequests,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)

AnyContext = Context[Any, Any]
Answer = str | InputRequiredResult


def add_questions(server: MCPServer[Any]) -> None:
    """Register what asks before it answers."""
    _add_single_questions(server)
    _add_with_state(server)
    _add_several(server)
    _add_prompt(server)


def _add_single_questions(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_elicitation(ctx: AnyContext) -> Answer:
        """Ask for a name."""
        name = _form_answer(ctx, "user_name", "name")
        return f"Hello, {name}!" if name else _asked({"user_name": _form("What is your name?", "name")})

    @server.tool()
    async def test_input_required_result_sampling(ctx: AnyContext) -> Answer:
        """Ask the client's model."""
        answer = _answer(ctx, "capital_question")
        if answer is None:
            return _asked({"capital_question": _sampling("What is the capital of France?", 100)})
        return f"The model said: {answer}"

    @server.tool()
    async def test_input_required_result_list_roots(ctx: AnyContext) -> Answer:
        """Ask for the client's roots."""
        answer = _answer(ctx, "client_roots")
        return _asked({"client_roots": ListRootsRequest()}) if answer is None else f"The roots are: {answer}"

    @server.tool()
    async def test_input_required_result_capabilities(ctx: AnyContext) -> Answer:
        """Ask only what the client says that it can answer."""
        able = ctx.client_capabilities
        questions: InputRequests = {}
        if able and able.sampling is not None:
            questions["sampled"] = _sampling("Say hello", 50)
        if able and able.elicitation is not None:
            questions["user_name"] = _form("What is your name?", "name")
        return _asked(questions) if questions and not ctx.input_responses else "nothing to ask"


def _add_with_state(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_request_state(ctx: AnyContext) -> Answer:
        """Ask, and want the state back."""
        if ctx.request_state == "confirming" and _answer(ctx, "confirm") is not None:
            return "state-ok"
        return _asked({"confirm": _form("Please confirm", "ok", kind="boolean")}, "confirming")

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: AnyContext) -> Answer:
        """Ask, and never see a state that somebody changed."""
        if ctx.request_state == "sealed" and _answer(ctx, "confirm") is not None:
            return "the state came back as it was"
        return _asked({"confirm": _form("Please confirm", "ok", kind="boolean")}, "sealed")

    @server.tool()
    async def test_input_required_result_multi_round(ctx: AnyContext) -> Answer:
        """Ask twice, one after the other."""
        match ctx.request_state, _form_answer(ctx, "step1", "name"), _form_answer(ctx, "step2", "color"):
            case "step 2", _, str(color):
                return f"Done: {color}"
            case "step 1", str(), _:
                return _asked({"step2": _form("Step 2: What is your favorite color?", "color")}, "step 2")
            case _:
                return _asked({"step1": _form("Step 1: What is your name?", "name")}, "step 1")


def _add_several(server: MCPServer[Any]) -> None:
    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: AnyContext) -> Answer:
        """Ask three things at once."""
        questions: InputRequests = {
            "user_name": _form("What is your name?", "name"),
            "greeting": _sampling("Generate a greeting", 50),
            "client_roots": ListRootsRequest(),
        }
        if ctx.request_state == "all" and questions.keys() <= (ctx.input_responses or {}).keys():
            return "all three were answered"
        return _asked(questions, "all")


def _add_prompt(server: MCPServer[Any]) -> None:
    @server.prompt()
    async def test_input_required_result_prompt(ctx: AnyContext) -> list[UserMessage] | InputRequiredResult:
        """Ask for the context of a prompt."""
        context = _form_answer(ctx, "user_context", "context")
        if context is None:
            return _asked({"user_context": _form("What context should the prompt use?", "context")})
        return [UserMessage(TextContent(type="text", text=f"Use this context: {context}"))]


def _asked(questions: InputRequests, state: str | None = None) -> InputRequiredResult:
    return InputRequiredResult(input_requests=questions, request_state=state)


def _form(message: str, field: str, *, kind: Literal["string", "boolean"] = "string") -> ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _answer(ctx: AnyContext, key: str) -> Any | None:
    return (ctx.input_responses or {}).get(key)


def _form_answer(ctx: AnyContext, key: str, field: str) -> str | None:
    answer = _answer(ctx, key)
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    value = (answer.content or {}).get(field)
    return value if isinstance(value, str) else None
