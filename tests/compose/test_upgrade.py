"""A new version under constant load: behind the edge no request fails, calls under way included.

Without it, what fails is dials.
"""

import asyncio
import ipaddress
from pathlib import Path

import aiohttp
import pytest

from mcpgw.bootstrap.command import run
from mcpgw.testing.composed import Composed
from mcpgw.testing.load import load, open_session, serves
from mcpgw.testing.waiting import until
from tests.compose.asking import whoami
from tests.compose.health import health_words

pytestmark = pytest.mark.engine

ORIGIN = "https://mcp.example.com"
UPGRADES = 2
LOADED_S = 3.0
SLOW_S = 4.0
HEARD_S_MAX = 10.0  # it asks for three seconds; the kernel itself would forget after 20 at the soonest
REFUSED, CLOSED = {"ClientConnectorError"}, {"ServerDisconnectedError", "ClientOSError"}
UNANSWERED = {"ConnectionTimeoutError"}
# No status, and no answer that was begun.
FAILED_DIALS = {"docker": REFUSED | CLOSED, "podman": REFUSED | UNANSWERED}


async def test_behind_the_edge_no_request_fails_while_everything_is_replaced(edged: Composed) -> None:
    address = edged.settings["EDGE_HTTPS_PUBLISH"]
    await serves(ORIGIN, edged.headers("ann"), address)
    async with load(ORIGIN, edged.headers("ann"), callers=8, slow_s=SLOW_S, address=address) as tally:
        for _ in range(UPGRADES):
            await asyncio.sleep(LOADED_S)
            streams = tally.streams_count
            before = await asyncio.to_thread(containers, edged)
            edged.release()
            await asyncio.to_thread(edged.up, "--no-build", profiles=["edge"])
            assert not before & await asyncio.to_thread(containers, edged)
            answered = tally.answered_count
            async with asyncio.timeout(60):
                while tally.answered_count == answered or tally.streams_count == streams:
                    await asyncio.sleep(0.1)
    assert tally.failures == {}
    assert tally.slow_count >= 2 * UPGRADES
    assert tally.streams_count >= UPGRADES, "streams that only listen are ended, and opened again"


def containers(stack: Composed) -> set[str]:
    return set(stack.compose("ps", "-q", "gateway", "reconciler", "fence").split())


async def test_without_the_edge_dials_fail_and_whoever_is_through_is_answered(stack: Composed) -> None:
    """Over loopback and at an address of the host's. Docker's proxy takes dials that it has to close; on
    Podman a dial that begins as the address changes hands is never answered, whereas the next one is.
    """
    base, headers = stack.origin, stack.headers("ann")
    await serves(base, headers)
    direct = f"{stack.settings['SERVICES_SUBNET_PREFIX']}.1:{base.rpartition(':')[2]}"
    async with (
        load(base, headers, callers=4, slow_s=SLOW_S / 2) as looped,
        load(base, headers, callers=4, slow_s=SLOW_S / 2, address=direct) as dialled,
    ):
        async with asyncio.timeout(60):
            while not (looped.slow_count and dialled.slow_count):
                await asyncio.sleep(0.1)
        recreated = ("up", "-d", "--no-build", "--force-recreate", "--no-deps", "gateway")
        await asyncio.to_thread(stack.compose, *recreated)
        answered = [tally.answered_count for tally in (looped, dialled)]
        async with asyncio.timeout(60):
            while answered[0] == looped.answered_count or answered[1] == dialled.answered_count:
                await asyncio.sleep(0.1)
    failures = looped.failures + dialled.failures
    assert {words.split()[1] for words in failures} <= FAILED_DIALS[stack.engine.name], failures
    assert failures, "it was replaced"
    calls = await asyncio.to_thread(stack.call, "ann", "calls")
    states = [one["state"] for one in calls.result["calls"]]
    assert states == ["finished"] * (looped.slow_count + dialled.slow_count), "who got through was answered"


def test_the_edge_is_healthy_while_caddy_runs(edged: Composed) -> None:
    words = health_words(edged, "edge")
    until(lambda: edged.run_in("edge", *words).returncode == 0, "the edge is healthy")
    nowhere = [word.replace(":2019/", ":9/") for word in words]
    assert edged.run_in("edge", *nowhere).returncode != 0


async def test_an_edge_that_is_replaced_is_known_to_its_neighbours_at_once(edged: Composed) -> None:
    """Or whoever calls by the published port would wait until the host asks anew for whom it knows there."""

    def known() -> list[str]:
        return run(("ip", "neigh", "show", "to", address), mend="").split()

    address = f"{edged.settings['SERVICES_SUBNET_PREFIX']}.5"
    await serves(ORIGIN, edged.headers("ann"), edged.settings["EDGE_HTTPS_PUBLISH"])
    before = edged.compose("--profile", "edge", "ps", "-q", "edge")
    assert "lladdr" in known()
    edged.up("--no-build", "--no-deps", "--force-recreate", "edge", profiles=["edge"])
    assert edged.compose("--profile", "edge", "ps", "-q", "edge") != before
    words = health_words(edged, "edge")
    until(lambda: edged.run_in("edge", *words).returncode == 0, "the edge is healthy")
    own = edged.run_in("edge", "cat", "/sys/class/net/eth0/address").stdout.strip()
    until(lambda: own in known(), "the host knows it", HEARD_S_MAX)


async def test_the_edge_speaks_for_its_client_alone(edged: Composed) -> None:
    """The gateway is asked for the client's own host, over https, and what a client forges is dropped."""
    address = edged.settings["EDGE_HTTPS_PUBLISH"]
    forged = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
    }
    await serves(ORIGIN, edged.headers("ann"), address)
    async with open_session(address) as session:
        told = await whoami(session, ORIGIN, {**edged.headers("ann"), **forged})
    seen = dict(told.result["headers"])
    assert seen["x-forwarded-host"] == ORIGIN.removeprefix("https://")
    assert seen["x-forwarded-proto"] == "https"
    assert ipaddress.ip_address(seen["x-forwarded-for"]) != ipaddress.ip_address("203.0.113.7")


def home_host(edged: Composed) -> str:
    """Of the one Home there is."""
    (claim,) = Path(edged.settings["HOST_DATA_DIR"]).glob("*/claim.json")
    return f"{claim.parent.name}.{edged.settings['WORKLOAD_DOMAIN']}"


async def test_a_home_is_reached_by_a_host_and_a_certificate_of_its_own(edged: Composed) -> None:
    """Made by the edge when somebody first asks; for a host that is nobody's it makes none."""
    address = edged.settings["EDGE_HTTPS_PUBLISH"]
    await serves(ORIGIN, edged.headers("ann"), address)
    host = home_host(edged)
    async with open_session(address) as session:
        async with session.get(f"https://{host}/static/demo.js") as answer:
            assert answer.status == 200
            assert "WebSocket" in await answer.text()
        async with session.get(f"https://{host}/", allow_redirects=False) as answer:
            assert answer.status in (302, 303, 401), "its owner's page, and nobody is signed in"
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"https://{'a' * 26}.{edged.settings['WORKLOAD_DOMAIN']}/static/demo.js")


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
    domains = ("mcp.example.com", home_host(edged), made_up, "example.org", "%00", "homes.example.net")
    assert edged.run_in("gateway", "python3", "-c", ask, url, *domains).stdout.split() == [
        *["200"] * 2,
        *["404"] * 4,
    ]
