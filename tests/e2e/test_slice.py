"""From a declared state to a container of one's own to an answer through the gateway."""

import asyncio
from typing import Any

import aiohttp
import pytest

from mcpgw.testing.calls import META, Answer, ask, call_tool, mcp_headers
from mcpgw.testing.house import House, until
from mcpgw.testing.waiting import seen
from mcpgw.testing.workload import demo_template, user_manifest, user_of
from state.kinds.resource import ConditionType
from tests.e2e.clients import BOTH_ERAS, LEGACY, client_of, tool
from tests.e2e.hand import Hand

pytestmark = pytest.mark.engine

WITHHELD = {"authorization", "x-app-user", "cookie", "forwarded", "x-real-ip"}


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


@BOTH_ERAS
async def test_a_container_learns_no_secret_and_nothing_forged(any_house: House, era: str) -> None:
    sent = {"Cookie": "mcpgw=secret", "Forwarded": "for=6.6.6.6", "X-Forwarded-For": "6.6.6.6"}
    async with client_of(any_house, "alice", era, **sent, **{"X-Real-Ip": "6.6.6.6"}) as client:
        headers = (await tool(client, "whoami"))["headers"]
    assert not WITHHELD & {name for name, _ in headers}
    assert any_house.key not in str(headers)
    assert dict(headers)["x-forwarded-for"] == "127.0.0.1"
    assert f"http://{dict(headers)['x-forwarded-host']}" == any_house.origin


@BOTH_ERAS
async def test_progress_arrives_as_it_happens(any_house: House, era: str) -> None:
    seen: list[float] = []
    label = f"progress-{era}"

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if not seen:
            assert (await call_record(any_house, "alice", label))["state"] == "running"
        seen.append(progress)

    async with client_of(any_house, "alice", era) as client:
        arguments = {"steps": 3, "interval_s": 0.4, "label": label}
        await client.call_tool("slow", arguments, progress_callback=on_progress)
    assert seen == [1, 2, 3]


@BOTH_ERAS
async def test_a_clients_disconnect_reaches_the_tool(any_house: House, era: str) -> None:
    """It cancels a call of the stateless era; one of a session goes on, by the specification."""
    label = f"dropped-{era}"
    await start_and_drop(any_house, "alice", era, label)

    record = await seen(
        lambda: call_record(any_house, "alice", label),
        lambda call: call["disconnected_at"] and (era == LEGACY or call["state"] == "cancelled"),
        "the disconnect is noted, and ends a call that it is to end",
    )
    assert record["steps_count"] < 100


async def call_record(house: House, user_id: str, label: str) -> dict[str, Any]:
    """What the demo noted of a long call; over a connection of its own."""
    answer = await asyncio.to_thread(house.call, user_id, "calls", label=label)
    calls = answer.result["calls"]
    return dict(calls[0]) if calls else {"state": "", "disconnected_at": None}


async def start_and_drop(house: House, user_id: str, era: str, label: str) -> None:
    """Begin `slow` by hand and close the connection in the middle; the official client would cancel first."""
    params: dict[str, Any] = {
        "name": "slow",
        "arguments": {"steps": 100, "interval_s": 0.2, "label": label},
        "_meta": {**META, "progressToken": 1},
    }
    headers = {**house.headers(user_id), **mcp_headers("tools/call", "slow")}
    async with aiohttp.ClientSession(headers=headers) as http:
        if era == LEGACY:
            await begin_session(http, house.mcp_url)
            params["_meta"] = {"progressToken": 1}
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        async with http.post(house.mcp_url, json=body) as answer:
            assert answer.status == 200, await answer.text()
            await answer.content.readline()  # the first progress is here: the tool runs
            answer.close()


async def begin_session(http: aiohttp.ClientSession, url: str) -> None:
    for name in ("Mcp-Method", "Mcp-Name"):
        http.headers.popall(name)
    http.headers["MCP-Protocol-Version"] = "2025-11-25"
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    async with http.post(url, json=hello) as answer:
        await answer.read()
        http.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
    async with http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}) as answer:
        assert answer.status == 202


def test_the_named_path_is_the_same_container_and_nobody_elses(shared_house: House) -> None:
    house = shared_house
    name = house.call("alice", "whoami").result["hostname"]
    named = f"{house.origin}/u/{user_of('alice')}/mcp"
    assert mcp(house, named, "alice").result["hostname"] == name
    assert mcp(house, named, "bob").status == 403


def mcp(house: House, url: str, user_id: str) -> Answer:
    return call_tool(url, house.headers(user_id), "whoami")


def test_a_key_minted_by_the_verb_lets_its_program_in_once_the_printed_manifest_is_saved(
    shared_house: House,
) -> None:
    house = shared_house
    minted = house.mcpgw("app-key")
    assert minted.returncode == 0, minted.stderr
    first, _, manifest = minted.stdout.partition("---\n")
    key = first.splitlines()[0].removeprefix("key (shown once): ")
    assert key not in manifest, "the manifest holds only its hash"
    headers = {"Authorization": f"Bearer {key}", "X-App-User": "42"}
    assert call_tool(house.mcp_url, headers, "whoami").status == 401
    house.write_manifest("my-program.yaml", manifest)
    until(lambda: call_tool(house.mcp_url, headers, "whoami").status == 200, "the program is let in")
    big = call_tool(house.mcp_url, headers, "big", {"size_bytes": 1_000_000})
    assert (big.status, len(big.body) > 1_000_000) == (200, True)


def test_who_is_not_let_in_creates_nothing(shared_house: House, hand: Hand) -> None:
    before = hand.ids(shared_house)
    headers = {"Authorization": "Bearer mcpgw_app_forged", "X-App-User": "mallory"}
    answer = ask("POST", shared_house.mcp_url, {**mcp_headers("tools/list"), **headers}, b"{}")
    assert answer.status == 401
    assert shared_house.user_container("mallory") is None
    assert hand.ids(shared_house) == before


def test_a_restart_that_was_asked_for_makes_a_new_container_with_the_old_data(shared_house: House) -> None:
    house = shared_house
    house.call("rita", "disk", text="kept")
    house.call("rita", "counter", add=5)
    owner = house.user_container("rita")
    assert owner is not None
    url = f"{house.origin}/-/api/v1/containers/{owner.name}/restart"
    assert ask("POST", url, house.headers("rita")).status == 202
    until(lambda: house.call("rita", "counter", add=0).result["result"] == 0, "rita's container is a new one")
    assert house.call("rita", "disk").result["result"] == "kept"


def test_power_in_a_manifest_takes_the_container_and_leaves_the_data(shared_house: House, hand: Hand) -> None:
    house = shared_house
    house.write_manifest("paul.yaml", user_manifest("paul"))
    until(lambda: house.endpoint("paul"), "paul has a container without having asked")
    house.call("paul", "disk", text="kept")
    name = house.container_name("paul")

    house.write_manifest("paul.yaml", user_manifest("paul", power="Stopped"))
    until(lambda: hand.id_of(name) is None, "paul's container is gone")
    refused = house.call("paul", "whoami")
    assert (refused.status, refused.message["reason"]) == (503, "Stopped")
    assert int(refused.headers["retry-after"]) > 0
    assert "power: Stopped" in refused.message["detail"]
    assert "Stopped: power is Stopped" in house.mcpgw("status").stdout
    explained = house.mcpgw("explain", "paul").stdout
    assert "managed by file:paul.yaml" in explained
    assert "last end: Stopped" in explained

    house.write_manifest("paul.yaml", user_manifest("paul", power="Auto"))
    until(lambda: house.endpoint("paul"), "paul has a container again")
    assert house.container_name("paul") == name
    assert house.call("paul", "disk").result["result"] == "kept"


def test_an_edited_template_replaces_its_containers_and_keeps_their_data(
    shared_house: House, hand: Hand
) -> None:
    house = shared_house
    house.write_manifest("edited.yaml", demo_template(house.image, name="edited"))
    house.write_manifest("edith.yaml", user_manifest("edith", template="edited"))
    until(lambda: house.endpoint("edith"), "edith is served")
    house.call("edith", "disk", text="kept")
    name, old = house.container_name("edith"), hand.id_of(house.container_name("edith"))

    house.write_manifest("edited.yaml", demo_template(house.image, name="edited", env={"EDITED": "yes"}))
    until(lambda: hand.id_of(name) not in (old, None), "edith's container is another one")
    assert house.call("edith", "disk").result["result"] == "kept"
    assert "EDITED=yes" in hand.inspect(name)["Config"]["Env"]
    until(
        lambda: house.reason("edith", ConditionType.PROGRESSING) == "False Settled", "edith's is as declared"
    )
    assert len(house.incarnations("edith")) == 1
