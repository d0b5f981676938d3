"""A new gateway under constant load: behind the edge no request fails, calls under way included."""

import asyncio

import pytest

from mcpgw.testing.composed import Composed
from mcpgw.testing.load import load, serves

pytestmark = pytest.mark.engine

ORIGIN = "https://mcp.example.com"
UPGRADES = 2
LOADED_S = 3.0
SLOW_S = 4.0


async def test_behind_the_edge_no_request_fails_while_the_gateway_is_replaced(edged: Composed) -> None:
    address = edged.settings["EDGE_HTTPS_PUBLISH"]
    await serves(ORIGIN, edged.headers("ann"), address)
    async with load(ORIGIN, edged.headers("ann"), callers=8, slow_s=SLOW_S, address=address) as tally:
        for number in range(UPGRADES):
            await asyncio.sleep(LOADED_S)
            answered, streams = tally.answered_count, tally.streams_count
            before = await asyncio.to_thread(container, edged)
            edged.set(DRAIN_TIMEOUT_S=str(31 + number))  # another version is another container
            await asyncio.to_thread(edged.up, "--no-build", profiles=["edge"])
            assert await asyncio.to_thread(container, edged) != before
            async with asyncio.timeout(60):
                while tally.answered_count == answered or tally.streams_count == streams:
                    await asyncio.sleep(0.1)
    assert tally.failures == {}
    assert tally.slow_count >= 2 * UPGRADES
    assert tally.streams_count >= UPGRADES, "streams that only listen are ended, and opened again"


def container(stack: Composed) -> str:
    return stack.compose("ps", "-q", "gateway")


async def test_the_edge_speaks_for_its_client_alone(edged: Composed) -> None:
    """The gateway is asked for the client's own host, over https, and what a client forges is dropped."""
    address = edged.settings["EDGE_HTTPS_PUBLISH"]
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
    }
    headers = {**edged.headers("ann"), **forged}
    await serves(ORIGIN, headers, address)
    assert "203.0.113.7" not in edged.logs("gateway")


async def test_certificates_are_for_hosts_that_somebody_is_reached_by(edged: Composed) -> None:
    await serves(ORIGIN, edged.headers("ann"), edged.settings["EDGE_HTTPS_PUBLISH"])
    ask = (
        "import sys, urllib.error, urllib.request as u\n"
        "for domain in sys.argv[2:]:\n"
        "    try:\n"
        "        print(u.urlopen(f'{sys.argv[1]}?domain={domain}', timeout=5).status)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        print(error.code)\n"
    )
    url = f"http://{edged.settings['SERVICES_SUBNET_PREFIX']}.2:9001/may-have-certificate"
    made_up = f"{'a' * 26}.homes.example.net"
    domains = ("mcp.example.com", made_up, "example.org", "%00", "homes.example.net")
    assert edged.run_in("gateway", "python3", "-c", ask, url, *domains).stdout.split() == [
        "200",
        *["404"] * 4,
    ]
