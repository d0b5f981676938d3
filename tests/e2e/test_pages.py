"""People at `mcpgw up`: what it prints, the account page, and a container's pages at an origin of its own."""

import hashlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.waiting import seen
from mcpgw.testing.workload import demo_template
from tests.e2e.conftest import opened
from tests.e2e.person import NAVIGATION, Page, Person, person_at, printed_snippet, sign_in_link
from tests.engines import RealEngine

pytestmark = pytest.mark.engine

STARTUP_DELAY_S = 3  # so that a start can be watched
MIB = 1 << 20
TOOLS = {"echo", "slow", "big", "whoami", "counter", "disk"}


@pytest.fixture(scope="module")
def up_house(
    engine_and_workers: tuple[RealEngine, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Both processes under `mcpgw up`, and a workload that takes its time to start."""
    engine, workers = engine_and_workers
    with opened(engine, tmp_path_factory.mktemp("up"), workers, begin="nothing") as house:
        slow = demo_template(house.image, env={"DEMO_STARTUP_DELAY_S": str(STARTUP_DELAY_S)})
        house.write_manifest("demo.yaml", slow)
        house.up.start()
        house.wait_ready()
        until(lambda: "Ctrl-C stops the gateway" in house.said(), "mcpgw up says the way in")
        yield house


@asynccontextmanager
async def developer(house: House) -> AsyncIterator[Person]:
    """The local developer, signed in by a link of their own."""
    link = await sign_in_link(house)
    async with person_at(house.origin) as person:
        assert (await person.visit(link)).url == f"{house.origin}/"
        yield person


async def open_page(person: Person, path: str) -> Page:
    """What the button of the account page leads to, as soon as it is there."""
    account = await seen(person.account, lambda page: "/-/open" in page.text, "the account page has a button")
    return await person.submit(account, "/-/open", path=path)


@asynccontextmanager
async def at_home(house: House) -> AsyncIterator[tuple[Person, str]]:
    """The developer inside the origin of their running container."""
    async with developer(house) as person:
        page = await open_page(person, "/")
        origin = page.url.removesuffix("/")
        if page.status == 503:
            await follow_until_ready(person, origin)
        yield person, origin


async def follow_until_ready(person: Person, origin: str) -> list[str]:
    """The waiting page's progress; which phases it showed."""
    phases = []
    async with person.http.get(f"{origin}/-/events") as events:
        async for line in events.content:
            if line.startswith(b"data: "):
                state = json.loads(line.removeprefix(b"data: "))
                phases.append(state["phase"])
                if state["ready"]:
                    return phases
    raise AssertionError(f"the stream ended before it was ready: {phases}")


def test_the_snippet_lists_the_tools_when_it_is_pasted_as_printed(up_house: House) -> None:
    said = up_house.said()
    assert f"MCP URL:  {up_house.mcp_url}" in said
    done = subprocess.run(
        ("sh", "-c", printed_snippet(said)), capture_output=True, text=True, check=False, timeout=120, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) >= TOOLS


async def test_the_printed_link_signs_in_once(up_house: House) -> None:
    link = re.search(r"sign in:  (http://\S+)   \(once", up_house.said())
    assert link is not None
    async with person_at(up_house.origin) as person, person_at(up_house.origin) as other:
        assert (await person.account()).url == f"{up_house.origin}/signin"
        assert (await person.visit(link[1])).status == 200
        assert up_house.mcp_url in (await person.account()).text
        again = await other.visit(link[1])
        assert again.status == 403
        assert "used already" in again.text


async def test_a_browser_gets_a_page_that_follows_the_start(up_house: House) -> None:
    async with at_home(up_house) as (person, origin):
        await person.submit(await person.account(), "/-/restart")
        page = await seen(
            lambda: person.visit(f"{origin}/"), lambda page: page.status != 200, "the restart begins"
        )
        assert page.status == 503
        assert "Your container is on its way" in page.text
        assert int(page.headers["retry-after"]) > 0
        phases = await follow_until_ready(person, origin)
        assert phases[-1] == "Ready"
        assert len(phases) > 1
        opened = await person.visit(f"{origin}/")
        assert opened.status == 200
        assert "Demo workload" in opened.text


async def test_cookies_of_gateway_and_container_never_meet(up_house: House) -> None:
    async with at_home(up_house) as (person, origin):
        await person.visit(f"{origin}/cookie?name=theirs&value=1")
        forged = await person.visit(f"{origin}/cookie?name=mcpgw-home&value=forged")
        assert "set-cookie" not in forged.headers
        async with person.http.get(f"{origin}/headers") as answer:
            headers = (await answer.json())["headers"]
        assert [value for name, value in headers if name == "cookie"] == ["theirs=1"]
        assert ["x-forwarded-host", origin.removeprefix("http://")] in headers


async def test_a_websocket_echoes_text_and_bytes(up_house: House) -> None:
    async with at_home(up_house) as (person, origin), person.websocket(origin, "/ws?push=2") as socket:
        assert [await socket.receive_str(), await socket.receive_str()] == ["tick 0", "tick 1"]
        await socket.send_str("hällo")
        assert await socket.receive_str() == "hällo"
        await socket.send_bytes(bytes(range(256)) * 4096)
        assert await socket.receive_bytes() == bytes(range(256)) * 4096


async def test_100_mib_pass_either_way_unchanged(up_house: House) -> None:
    block = bytes(range(256)) * (MIB // 256)
    sent, received = hashlib.sha256(), hashlib.sha256()

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(100):
            sent.update(block)
            yield block

    async with at_home(up_house) as (person, origin):
        async with person.http.post(f"{origin}/upload", data=blocks(), headers={"Origin": origin}) as answer:
            told = await answer.json()
        async with person.http.get(f"{origin}/download?bytes={100 * MIB}") as answer:
            size_bytes = 0
            async for piece in answer.content.iter_chunked(MIB):
                received.update(piece)
                size_bytes += len(piece)
    assert told == {"bytes": 100 * MIB, "sha256": sent.hexdigest()}
    assert (size_bytes, received.hexdigest()) == (100 * MIB, sent.hexdigest())


async def test_events_pass_as_they_happen_and_their_end_reaches_the_container(up_house: House) -> None:
    async def record(person: Person, origin: str) -> dict[str, object]:
        async with person.http.get(f"{origin}/calls?label=ticks") as answer:
            return dict((await answer.json())["calls"][0])

    async with at_home(up_house) as (person, origin):
        async with person.http.get(f"{origin}/sse?interval=0.2&label=ticks") as events:
            ticks = [line async for line in first(events, 3)]
            assert (await record(person, origin))["state"] == "running"
            events.close()
        assert ticks == [f'data: {{"tick": {n}}}\n'.encode() for n in range(3)]
        ended = await seen(
            lambda: record(person, origin), lambda call: call["state"] != "running", "the stream has ended"
        )
        assert ended["state"] == "cancelled"


async def first(events: aiohttp.ClientResponse, count: int) -> AsyncIterator[bytes]:
    """The data lines of the first events."""
    async for line in events.content:
        if line.startswith(b"data: "):
            yield line
            count -= 1
        if not count:
            return


async def test_a_hosted_link_lets_in_whoever_has_it_and_nothing_else_does(up_house: House) -> None:
    async with at_home(up_house) as (_, origin), person_at(up_house.origin) as stranger:
        home = re.sub(r"^http://([a-z2-7]{26})\..*$", r"\1", origin)
        linked = await stranger.visit(f"{origin}/link/{home}-42")
        assert linked.status == 200
        assert f'Home <code id="home">{home}</code>, link <code id="link">42</code>' in linked.text
        assert (await stranger.visit(f"{origin}/static/demo.js")).status == 200
        assert (await stranger.visit(f"{origin}/link/{'a' * 26}-42")).status == 401
        assert (await stranger.visit(f"{origin}/")).status == 401
        assert (await stranger.visit(f"{origin}/nowhere")).status == 404
        assert (await stranger.visit(origin.replace(home, "b" * 26))).status == 404
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await stranger.websocket(origin, "/ws")


async def test_a_page_of_another_origin_changes_nothing(up_house: House) -> None:
    async with at_home(up_house) as (person, origin):
        foreign = {**NAVIGATION, "Origin": "http://evil.localhost"}
        async with person.http.post(f"{origin}/upload", data=b"x", headers=foreign) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await person.http.ws_connect(f"{origin}/ws", headers={"Origin": "http://evil.localhost"})


async def test_signing_out_ends_the_way_into_the_container_too(up_house: House) -> None:
    async with at_home(up_house) as (person, origin):
        assert (await person.visit(f"{origin}/")).status == 200
        assert (await person.submit(await person.account(), "/signout")).url == f"{up_house.origin}/signin"
        page = await seen(
            lambda: person.visit(f"{origin}/"), lambda page: page.status != 200, "the session is over"
        )
        assert page.status == 401
