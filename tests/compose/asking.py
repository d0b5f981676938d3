"""A call through whatever proxy is in front: what the container saw of it."""

from collections.abc import Mapping

import aiohttp

from mcpgw.testing.calls import META, Answer, mcp_headers


async def whoami(session: aiohttp.ClientSession, origin: str, headers: Mapping[str, str]) -> Answer:
    """Raises aiohttp.ClientError."""
    call = {"name": "whoami", "arguments": {}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    sent = {**mcp_headers("tools/call", "whoami"), **headers}
    async with session.post(f"{origin}/mcp", json=body, headers=sent) as answer:
        return Answer(answer.status, {"content-type": answer.content_type}, await answer.read())
