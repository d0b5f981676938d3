"""Put to sleep on a real engine: the container goes, the data stays, and the next call wakes it."""

import asyncio

import pytest

from mcpgw.testing.calls import ask
from mcpgw.testing.house import House, until
from mcpgw.testing.waiting import seen
from state.kinds.resource import ConditionType
from tests.e2e.clients import LEGACY, client_of, tool
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

ASLEEP = "True PutToSleep"
A_WHILE_S = 8.0  # several attempts of a client to connect again


def put_to_sleep(house: House, user_id: str) -> None:
    user = house.user_container(user_id)
    assert user is not None
    url = f"{house.origin}/-/api/v1/containers/{user.name}/sleep"
    assert ask("POST", url, house.headers(user_id)).status == 202


def listeners(house: House) -> int:
    """Clients that the gateway itself lets listen."""
    metrics = ask("GET", house.private["gateway"].replace("/ready", "/metrics"))
    lines = metrics.body.decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("mcpgw_listeners ")).split()[1]))


def test_the_container_goes_its_data_stays_and_a_call_wakes_it(shared_house: House, hand: Hand) -> None:
    house = shared_house
    house.serve("sleepy")
    assert house.call("sleepy", "counter").result["result"] == 1
    assert house.call("sleepy", "disk", text="kept").status == 200
    name = house.container_name("sleepy")
    before = hand.id_of(name)
    put_to_sleep(house, "sleepy")
    until(lambda: hand.id_of(name) is None, "the container is gone")
    until(lambda: house.reason("sleepy", ConditionType.HIBERNATED) == ASLEEP, "that is told")
    until(lambda: not house.incarnations("sleepy"), "its address is free")
    assert house.call("sleepy", "disk").result["result"] == "kept", "the call is held, and answered"
    assert house.call("sleepy", "counter").result["result"] == 1, "by another process"
    assert hand.id_of(name) not in (None, before)
    assert house.container_name("sleepy") == name, "in the same home"
    until(lambda: house.reason("sleepy", ConditionType.HIBERNATED) == "False Awake", "that is told, too")


async def test_a_client_that_only_listens_lets_the_container_sleep(shared_house: House, hand: Hand) -> None:
    """The official client's stream is cut by the sleep, and it connects again at once."""
    house = shared_house
    async with client_of(house, "listener", LEGACY) as client:
        await tool(client, "disk", text="kept")
        name = await asyncio.to_thread(house.container_name, "listener")
        await asyncio.to_thread(put_to_sleep, house, "listener")

        async def container() -> str | None:
            return await asyncio.to_thread(hand.id_of, name)

        await seen(container, lambda found: found is None, "the container is gone")
        await seen(
            lambda: asyncio.to_thread(listeners, house), lambda count: count == 1, "the client listens again"
        )
        await asyncio.sleep(A_WHILE_S)
        assert await container() is None
        assert await asyncio.to_thread(listeners, house) == 1
        assert await asyncio.to_thread(house.reason, "listener", ConditionType.HIBERNATED) == ASLEEP
    async with client_of(house, "listener", LEGACY) as client:
        assert (await tool(client, "disk"))["result"] == "kept"
