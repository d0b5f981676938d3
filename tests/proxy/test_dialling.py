"""An address is dialled only while it is certain whose it is, and used only if that is so afterwards too."""

from __future__ import annotations

import asyncio

import pytest

from gateway.proxy.limits import Limits
from gateway.proxy.outcome import DialError, Failure
from gateway.proxy.pool import Pools
from tests.proxy.rig import OK, PATIENCE_S, Peer, always, upstream


@pytest.mark.fault(20)
async def test_nothing_is_dialled_while_the_address_may_be_anothers() -> None:
    is_sure = False
    async with upstream(always(OK)) as up:
        pools = Pools(Limits(), may_dial=lambda: is_sure)
        with pytest.raises(DialError) as refusal:
            await pools.pool(up.endpoint).dial()
        assert refusal.value.failure is Failure.DIAL_UNSURE
        is_sure = True
        await pools.pool(up.endpoint).dial()
        await asyncio.sleep(0.05)
        assert up.connection_count == 1
        pools.close()


@pytest.mark.fault(20)
async def test_a_connection_made_while_it_became_unsure_carries_nothing() -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    answers = iter([True, False])

    async def handler(peer: Peer) -> None:
        got.set_result(await peer.rest())

    async with upstream(handler) as up:
        pools = Pools(Limits(), may_dial=lambda: next(answers))
        pool = pools.pool(up.endpoint)
        with pytest.raises(DialError) as refusal:
            await pool.dial()
        assert refusal.value.failure is Failure.DIAL_UNSURE
        assert await asyncio.wait_for(got, PATIENCE_S) == b""
        assert pool.in_flight_count == 0
        pools.close()


async def test_a_retired_incarnation_is_not_dialled_again() -> None:
    async with upstream(always(OK)) as up:
        pools = Pools(Limits())
        pool = pools.pool(up.endpoint)
        pools.retire(up.endpoint.incarnation, cut=False)
        with pytest.raises(DialError) as refusal:
            await pool.dial()
        assert refusal.value.failure is Failure.DIAL_RETIRED
        await asyncio.sleep(0.05)
        assert up.connection_count == 0
        pools.close()
