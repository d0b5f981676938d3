"""An incarnation's connections are its own: what becomes of them when it retires, and of dials meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy import DialError, Endpoint, Failure, Limits, UpstreamHead
from gateway.proxy.pool import Pools
from tests.proxy.rig import OK, PATIENCE_S, Peer, always, gateway, get, post, status, upstream

pytestmark = pytest.mark.usefixtures("way")


async def half_an_answer(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
    await peer.exactly(1)


async def test_idle_connections_close_at_once() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get())) == 200
        await front.proxy.retire("one")
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)


async def test_what_is_in_flight_may_finish_and_its_connection_is_not_kept() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await release.wait()
        await peer.send(OK)
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get())
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        await front.proxy.retire("one")
        assert front.proxy.in_flight_count("one") == 1
        release.set()
        assert (await client.rest()).endswith(b"ok")
        await asyncio.wait_for(up.gone.wait(), PATIENCE_S)
        await client.close()
        assert (await front.outcome()).failure is Failure.NONE


async def test_a_cut_ends_what_has_begun_visibly() -> None:
    async with upstream(half_an_answer) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get())
        await client.until(b"ha")
        await front.proxy.retire("one", cut=True)
        assert await client.rest() == b""
        await client.close()
        assert (await front.outcome()).failure is Failure.RETIRED


async def test_a_cut_tells_who_has_heard_nothing_to_ask_again() -> None:
    arrived = asyncio.Event()

    async def handler(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.exactly(1)

    async with upstream(handler) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(post(b"{}"))
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        await front.proxy.retire("one", cut=True)
        answer = await client.rest()
        await client.close()
        assert status(answer) == 503
        assert b"retry-after: 1" in answer
        assert b'"reason": "retired"' in answer


async def test_a_draining_incarnation_can_be_cut_later() -> None:
    async with upstream(half_an_answer) as up, gateway(up.endpoint) as front:
        client = await front.connect()
        await client.send(get())
        await client.until(b"ha")
        await front.proxy.retire("one")
        assert front.proxy.in_flight_count("one") == 1
        await front.proxy.retire("one", cut=True)
        assert await client.rest() == b""
        await client.close()


async def test_two_incarnations_at_one_address_never_share_a_connection() -> None:
    async with upstream(always(OK)) as up, gateway(up.endpoint) as front:
        assert status(await front.ask(get())) == 200
        before = up.connection_count
        front.endpoint = Endpoint(up.endpoint.host, up.endpoint.port, "two")
        assert status(await front.ask(get())) == 200
        assert up.connection_count == before + 1


async def test_an_incarnation_whose_address_changes_drops_its_old_connections() -> None:
    async with upstream(always(OK)) as old, upstream(always(OK)) as new, gateway(old.endpoint) as front:
        assert status(await front.ask(get())) == 200
        front.endpoint = new.endpoint
        assert status(await front.ask(get())) == 200
        await asyncio.wait_for(old.gone.wait(), PATIENCE_S)
        assert new.connection_count == 1


async def test_a_dial_that_ends_after_the_retirement_is_refused() -> None:
    async with upstream(always(OK)) as up:
        pools = Pools(Limits())
        dialling = asyncio.create_task(pools.pool(up.endpoint).dial())
        await asyncio.sleep(0)
        pools.retire("one", cut=False)
        with pytest.raises(DialError) as caught:
            await dialling
        assert caught.value.failure is Failure.DIAL_RETIRED
        pools.close()


async def test_a_dial_that_hangs_ends_in_time() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): nobody answers there, or the network says so.
    pools = Pools(Limits(connect_s=0.1))
    with pytest.raises(DialError) as caught:
        await pools.pool(Endpoint("192.0.2.1", 9, "one")).dial()
    assert caught.value.failure in (Failure.DIAL_TIMEOUT, Failure.DIAL_REFUSED)
    pools.close()


@pytest.mark.parametrize(
    ("target", "host", "headers"),
    [
        (b"no-slash", b"h", ()),
        (b"/a b", b"h", ()),
        (b"/a\r\nx: y", b"h", ()),
        (b"/a\n", b"h", ()),
        (b"/", b"h\r\nx: y", ()),
        (b"/", b"", ()),
        (b"/", b"h", ((b"X-Upper", b"v"),)),
        (b"/", b"h", ((b"x", b"a\r\nb: c"),)),
        (b"/", b"h", ((b"x:y", b"v"),)),
    ],
)
async def test_a_head_that_could_break_the_request_is_not_built(
    target: bytes, host: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    with pytest.raises(ValueError, match="unsafe"):
        UpstreamHead(target=target, host=host, headers=headers)
