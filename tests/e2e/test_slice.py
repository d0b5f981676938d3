"""From a declared state to a container of one's own to an answer through the gateway."""

import asyncio

import pytest

from mcpgw.testing.house import House
from tests.e2e.clients import BOTH_ERAS, client_of, tool

pytestmark = pytest.mark.engine


@BOTH_ERAS
async def test_two_users_at_once_reach_two_containers_that_share_nothing(any_house: House, era: str) -> None:
    async def use(user_id: str, times: int) -> tuple[str, int, str]:
        async with client_of(any_house, user_id, era) as client:
            for _ in range(times):
                counted = (await tool(client, "counter"))["result"]
            await tool(client, "disk", text=f"{user_id}'s own")
            name = (await tool(client, "whoami"))["hostname"]
            return name, counted, (await tool(client, "disk"))["result"]

    alice, bob = await asyncio.gather(use(f"alice-{era}", 3), use(f"bob-{era}", 2))
    assert alice[0] != bob[0]
    assert (alice[1], bob[1]) == (3, 2)
    assert (alice[2], bob[2]) == (f"alice-{era}'s own", f"bob-{era}'s own")
